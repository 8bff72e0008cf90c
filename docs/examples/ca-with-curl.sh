#!/usr/bin/env bash
# The CA's API with curl, openssl and ssh-keygen: a login by code, a proof for each request, a certificate, its revocation.
# docs/api.md explains the parts; a test runs this file as it stands. JSON is read with node. Nothing secret is an argument.
#
#   CA=https://ca.example.org HOST=web-01 LOGIN=deploy ./ca-with-curl.sh
set -euo pipefail
: "${CA:?the address of the CA, https://…}" "${HOST:?a host id}" "${LOGIN:?a login on it}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
umask 077

# --- small tools
base64url() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
sha256() { openssl dgst -sha256 -binary | base64url; }
field() { node -e 'console.log(JSON.parse(require("node:fs").readFileSync(0, "utf8"))[process.argv[1]] ?? "")' "$1"; }

# --- a key for proofs: the tokens will be worth something with it only
openssl genpkey -algorithm ed25519 -out proof.pem
x=$(openssl pkey -in proof.pem -pubout -outform DER | tail -c 32 | base64url)

# --- proof METHOD URL [MORE-CLAIMS]: a DPoP proof (RFC 9449) for one request
proof() {
  local header claims
  header=$(printf '{"typ":"dpop+jwt","alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"%s"}}' "$x" | base64url)
  claims=$(printf '{"jti":"%s","htm":"%s","htu":"%s","iat":%s%s}' \
    "$(openssl rand -hex 16)" "$1" "$2" "$(date +%s)" "${3:-}" | base64url)
  printf '%s.%s' "$header" "$claims" > signed
  printf '%s.%s.%s' "$header" "$claims" "$(openssl pkeyutl -sign -rawin -inkey proof.pem -in signed | base64url)"
}

# --- ask METHOD PATH [BODY-FILE [MORE-CLAIMS]]: a request with token and proof
ask() {
  local method=$1 path=$2 body=${3:-} claims
  claims=",\"ath\":\"$(sha256 < token)\""
  [ -z "$body" ] || claims="$claims,\"body\":\"$(sha256 < "$body")\""
  {
    printf 'Authorization: DPoP %s\n' "$(cat token)"
    printf 'DPoP: %s\n' "$(proof "$method" "$CA${path%%\?*}" "$claims${4:-}")"
    [ -z "$body" ] || echo 'Content-Type: application/json'
  } > headers
  curl -sS -w '\n' -X "$method" -H @headers ${body:+--data-binary @"$body"} "$CA$path"
}

# --- certify BODY-FILE: the key to be certified signs the exact body
certify() {
  ssh-keygen -q -Y sign -n certificate@beacon -f key "$1"
  key_proof=$(grep -v -- ----- "$1.sig" | tr -d '\n' | tr '+/' '-_' | tr -d '=')
  ask POST /v1/certificates "$1" ",\"key_proof\":\"$key_proof\""
}

# --- begin a login
curl -sS -d client_id=beacon-cli -d scope=beacon -d resource=urn:beacon:ca "$CA/oauth/device" > device.json
echo "Open $(field verification_uri < device.json) and type $(field user_code < device.json)"

# --- wait for the person
field device_code < device.json | tr -d '\n' > code
until
  sleep "$(field interval < device.json)"
  printf 'DPoP: %s\n' "$(proof POST "$CA/oauth/token")" > headers
  curl -sS -H @headers -d client_id=beacon-cli \
    -d grant_type=urn:ietf:params:oauth:grant-type:device_code \
    --data-urlencode device_code@code "$CA/oauth/token" > answer.json
  field access_token < answer.json | tr -d '\n' > token
  [ -s token ]
do
  [ "$(field error < answer.json)" = authorization_pending ] || { cat answer.json >&2; exit 1; }
done

# --- who am I?
ask GET /v1/sessions/current

# --- what would be decided?
printf '{"v":1,"host":"%s","login":"%s","lifetime_seconds":300}' "$HOST" "$LOGIN" > question.json
ask POST /v1/decisions question.json

# --- a certificate for a fresh key
ssh-keygen -q -t ed25519 -N '' -C '' -f key
printf '{"v":1,"host":"%s","login":"%s","public_key":"%s","lifetime_seconds":300}' \
  "$HOST" "$LOGIN" "$(cut -d' ' -f1,2 key.pub)" > request.json
certify request.json > certificate.json
field certificate < certificate.json > key-cert.pub
ssh-keygen -L -f key-cert.pub

# --- what was recorded
ask GET "/v1/records?person=$(ask GET /v1/sessions/current | node -p \
  'JSON.parse(require("node:fs").readFileSync(0, "utf8")).session.person')&limit=500"
curl -sS -w '\n' "$CA/v1/checkpoint"

# --- take the certificate back
printf '{"v":1,"by":"serial","value":"%s","reason":"the example shows it"}' \
  "$(field serial < certificate.json)" > revocation.json
ask POST /v1/revocations revocation.json

# --- the revocation list, as a host loads it
curl -sS -o krl "$CA/v1/krl"
ssh-keygen -Q -f krl key-cert.pub || echo 'the certificate is revoked'

# --- a refusal is a problem document (unless policy allows a whole hour)
sed 's/"lifetime_seconds":300/"lifetime_seconds":3600/' request.json > long.json
certify long.json

# --- end the session
session=$(ask GET /v1/sessions/current | node -p \
  'JSON.parse(require("node:fs").readFileSync(0, "utf8")).session.id')
ask DELETE "/v1/sessions/$session"
