import type { SecretText } from '../secret.ts'

/** What a pod logs in with: a service-account token as kubelet hands it to us, or the secret ID of its AppRole. */
export type ServiceAccountToken = {
  token: SecretText
  /** Milliseconds since the Unix epoch; Infinity for a secret ID. */
  expiresAt: number
}

export type Pod = {
  name: string
  namespace: string
  uid: string
  serviceAccount: string
}
