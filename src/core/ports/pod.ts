import type { SecretText } from '../secret.ts'

/** A pod's login secret: the service-account token that kubelet passes, or the secret ID of its AppRole. */
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
