#!/usr/bin/env bash
# Makes the vectors in this folder anew with ssh-keygen (OpenSSH 9.2 or later): one property per file, named for it.
# Private keys are made in a temporary folder and go with it; hardware keys are public keys put together from bytes.
# Usage: test/vectors/generate.sh (the vectors that were here before are replaced)
set -euo pipefail
cd "$(dirname "$0")"
rm -f -- *.pub *.sig *.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
keygen() { ssh-keygen -q "$@"; }
make() { keygen -N '' -C "$1" -f "$work/$1" "${@:2}"; }

make ed25519 -t ed25519
make ecdsa256 -t ecdsa -b 256
make ecdsa384 -t ecdsa -b 384
make ecdsa521 -t ecdsa -b 521
make rsa3072 -t rsa -b 3072
make rsa2048 -t rsa -b 2048
make ca_ed25519 -t ed25519
make ca_ecdsa256 -t ecdsa -b 256
make ca_ecdsa384 -t ecdsa -b 384
make ca_ecdsa521 -t ecdsa -b 521
make ca_rsa3072 -t rsa -b 3072
make ca_rsa2048 -t rsa -b 2048

# A hardware key (PROTOCOL.u2f) is an ordinary one with another type and the name of an application behind it.
text() { printf "\\x$(printf %02x $((${#1} >> 24 & 255)))\\x$(printf %02x $((${#1} >> 16 & 255)))\\x$(printf %02x $((${#1} >> 8 & 255)))\\x$(printf %02x $((${#1} & 255)))%s" "$1"; }
blob() { cut -d ' ' -f 2 "$work/$1.pub" | base64 -d; }
{ printf 'sk-ssh-ed25519@openssh.com '
  { text sk-ssh-ed25519@openssh.com; blob ed25519 | tail -c 36; text ssh:; } | base64 -w 0
  printf ' sk_ed25519\n'; } >"$work/sk_ed25519.pub"
{ printf 'sk-ecdsa-sha2-nistp256@openssh.com '
  { text sk-ecdsa-sha2-nistp256@openssh.com; text nistp256; blob ecdsa256 | tail -c 69; text ssh:; } | base64 -w 0
  printf ' sk_ecdsa256\n'; } >"$work/sk_ecdsa256.pub"

subjects=(ed25519 ecdsa256 ecdsa384 ecdsa521 rsa3072 sk_ed25519 sk_ecdsa256)
for key in "${subjects[@]}" rsa2048 ca_ed25519 ca_ecdsa256 ca_ecdsa384 ca_ecdsa521 ca_rsa3072 ca_rsa2048; do
  cp "$work/$key.pub" "key_$key.pub"
done

# certificate NAME SUBJECT CA options of ssh-keygen …
certificate() {
  cp "$work/$2.pub" "$work/subject.pub"
  keygen -s "$work/$3" "${@:4}" "$work/subject.pub"
  mv "$work/subject-cert.pub" "$1.pub"
}
hour=(-V 20260101000000Z:20260101010000Z)
usual=(-I beacon/0123456789abcdefghjkmnpqrs/github:583231 -z 7 -n deploy@build-01 "${hour[@]}")

for key in "${subjects[@]}"; do
  for ca in ca_ed25519 ca_ecdsa256 ca_rsa3072; do
    certificate "subject_${key}_$ca" "$key" "$ca" "${usual[@]}" -O clear
  done
done
for ca in ca_ecdsa384 ca_ecdsa521; do
  certificate "subject_ed25519_$ca" ed25519 "$ca" "${usual[@]}" -O clear
done
plain() { certificate "$1" ed25519 ca_ed25519 "${usual[@]}" "${@:2}"; }
plain host -h -I beacon/host/build-01 -n build-01
plain all_permissions
plain only_pty -O clear -O permit-pty
plain no_touch_required -O clear -O no-touch-required
plain grant -O clear -O 'extension:grant@beacon={"v":1}'
plain force_command -O clear -O force-command='echo "ä"'
plain source_address -O clear -O source-address=192.0.2.0/24,2001:db8::/32
plain verify_required -O clear -O verify-required
plain unknown_critical -O clear -O critical:colour@example.com=green
plain unknown_extension -O clear -O extension:colour@example.com=green
plain permit_pty_critical -O clear -O critical:permit-pty
plain force_command_extension -O clear -O extension:force-command=id
plain flag_with_data -O clear -O extension:permit-pty=yes
plain text_without_inner_string -O clear -O critical:force-command
certificate no_principals ed25519 ca_ed25519 -I key -z 7 "${hour[@]}" -O clear
plain two_principals -O clear -n deploy@build-01,deploy@build-02
plain wildcard_principal -h -I beacon/host/any -n '*.example.com'
plain principals_256 -O clear -n "$(seq -s , 256)"
plain serial_zero -O clear -z 0
plain serial_max -O clear -z 18446744073709551615
plain key_id_empty -O clear -I ''
plain key_id_foreign -O clear -I 'Jane Doe <jane@example.com>'
plain key_id_64k -O clear -I "$(printf '%065536d' 0)"
certificate forever ed25519 ca_ed25519 -I key -z 7 -n deploy@build-01 -O clear
certificate small_rsa rsa2048 ca_ed25519 "${usual[@]}" -O clear
certificate small_rsa_authority ed25519 ca_rsa2048 "${usual[@]}" -O clear
certificate rsa_sha256_signature ed25519 ca_rsa3072 -t rsa-sha2-256 "${usual[@]}" -O clear
certificate sha1_signature ed25519 ca_rsa3072 -t ssh-rsa "${usual[@]}" -O clear

printf 'the message\n' >"$work/message"
for key in ed25519 ecdsa256 ecdsa384 ecdsa521 rsa3072; do
  ssh-keygen -q -Y sign -f "$work/$key" -n certificate@beacon <"$work/message" >"message_$key.sig" 2>/dev/null
done
ssh-keygen -q -Y sign -f "$work/ed25519" -n file -O hashalg=sha256 <"$work/message" >message_sha256.sig 2>/dev/null
cp "$work/message" message.txt
