import type { SecretText } from '../core/secret.ts'

/** The address of the API server and the credentials for it. */
export type Connection = {
  /** Such as https://10.0.0.1:443, without a trailing slash. */
  server: string
  tlsServerName: string | undefined
  skipTLSVerify: boolean
  credentials: Credentials
}

/** Files are read again as they are rotated. */
export type Credentials = {
  /** @throws Error that names the file or command, never its content or output */
  current(): Promise<Credential>
  /** The API server answered 401: nothing cached is used again. */
  expire(): void
}

export type Credential = {
  /** Bearer token. */
  token: SecretText | undefined
  /** PEM; undefined: the system's authorities. */
  ca: string | undefined
  /** PEM of the client certificate and its key. */
  certificate: { certificate: string; key: SecretText } | undefined
}
