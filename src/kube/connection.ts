import type { SecretText } from '../core/secret.ts'

/** How the API server is reached. */
export type Connection = {
  /** Such as https://10.0.0.1:443, without a slash at its end. */
  server: string
  tlsServerName: string | undefined
  skipTLSVerify: boolean
  credentials: Credentials
}

/** What is needed to be let in. Files are read again as they are rotated. */
export type Credentials = {
  /** @throws Error that names the file or command, never what it held */
  current(): Promise<Credential>
  /** The API server answered 401: whatever was remembered is read again. */
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
