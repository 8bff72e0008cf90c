/**
 * How a machine speaks for itself to the CA (DESIGN.md section 6): public requests, each signed over its exact body by the
 * machine's SSH host key. The signature stands in the header {@link HOST_SIGNATURE_HEADER}: the raw SSHSIG (sha512) in
 * base64 on one line, in the namespace of the path, so that what was signed for one purpose serves no other.
 *
 * | path | namespace | signed by |
 * |---|---|---|
 * | `POST /v1/host-enrolments` | `host-enrolment@beacon` | the key in the body |
 * | `POST /v1/host-renewals` | `host-renewal@beacon` | the key that the CA knows |
 * | `POST /v1/host-self-tests` | `host-self-test@beacon` | the key that the CA knows |
 * | `POST /v1/host-reports` | `host-report@beacon` | the key that the CA knows |
 *
 * A self-test also carries {@link KEY_PROOF_HEADER}: an SSHSIG by the fresh key over the same body, in the namespace
 * `certificate@beacon`. All but enrolments hold `at`, the CA's time within five minutes (a machine whose clock may be
 * wrong takes it from the `date` of the CA's last answer), and `nonce`, 32 random bytes in base64url, good once.
 */
export const HOST_SIGNATURE_HEADER = 'beacon-host-signature';
export const KEY_PROOF_HEADER = 'beacon-key-proof';
export const ENROLMENT_NAMESPACE = 'host-enrolment@beacon';
export const RENEWAL_NAMESPACE = 'host-renewal@beacon';
export const SELF_TEST_NAMESPACE = 'host-self-test@beacon';
export const REPORT_NAMESPACE = 'host-report@beacon';
