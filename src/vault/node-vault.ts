/**
 * The seam to the npm package node-vault: Vault's client in this project, by the user's choice of package.
 * It gives the client and composes each request: API version, URL, method and headers.
 * transport.ts sends the request, because node-vault's own transport (axios) takes no AbortSignal, follows redirects, drops
 * the headers of responses (Retry-After) and bounds neither the size of a response nor the life of a connection.
 * Login, renewal and retries are in this folder too: a node-vault client holds one token, this plugin many.
 */
import { createRequire } from 'node:module'
import type { Answer, TransportOptions } from './transport.ts'

/** The part of a node-vault client in use: one method. */
export type NodeVault = {
  request(options: Omit<TransportOptions, 'uri'> & { path: string }): Promise<Answer>
}

type Respond = (
  options: TransportOptions,
) => Promise<{ statusCode: number; body: Answer; request: { path: string } }>

/** The options of node-vault 0.12 in use; its own typings leave them open. */
type ClientOptions = {
  endpoint: string
  'request-promise': { defaults(): Respond }
  commands: Record<string, never>
  tv4: { validate(): true }
  debug: () => void
}

type Client = NodeVault & { token: string | undefined; namespace: string | undefined; pathPrefix: string }

/**
 * A node-vault client that holds no token and takes nothing from the environment.
 * @param send does the HTTP
 */
export function createNodeVault(
  address: string,
  send: (options: TransportOptions) => Promise<Answer>,
): NodeVault {
  const client = loadNodeVault()({
    endpoint: address,
    'request-promise': { defaults: () => respondWith(send) },
    // Without this every client carries a hundred generated functions.
    commands: {},
    // The only schema in use demands an object with a path and a method, which the type ensures.
    tv4: { validate: () => true },
    // node-vault prints requests with their bodies through this, as soon as DEBUG is set.
    debug: () => {},
  })
  // The constructor reads VAULT_TOKEN, VAULT_NAMESPACE and VAULT_PREFIX. Token and namespace go with each request instead.
  client.token = undefined
  client.namespace = undefined
  client.pathPrefix = ''
  return client
}

/**
 * node-vault makes an error without headers of every status but 200 and 204, and a success of every response whose path
 * contains sys/health. Our callers parse the response themselves, status included, so node-vault sees each one as a 200.
 */
function respondWith(send: (options: TransportOptions) => Promise<Answer>): Respond {
  return async (options) => ({ statusCode: 200, body: await send(options), request: { path: '' } })
}

let loaded: ((options: ClientOptions) => Client) | undefined

/**
 * node-vault requires axios even when it has another transport and never calls it, which costs 11 MiB of resident memory
 * on every node. So an empty module stands in for axios while node-vault loads, and is removed afterwards: the module
 * cache is as before, and any later require gets the real axios.
 */
function loadNodeVault(): (options: ClientOptions) => Client {
  if (loaded) return loaded
  const require = createRequire(import.meta.url)
  const axios = createRequire(require.resolve('node-vault')).resolve('axios')
  const before = require.cache[axios]
  require.cache[axios] = Object.assign(Object.create(null), {
    id: axios,
    filename: axios,
    loaded: true,
    exports: {},
  })
  try {
    loaded = require('node-vault') as (options: ClientOptions) => Client
  } finally {
    if (before) require.cache[axios] = before
    else delete require.cache[axios]
  }
  return loaded
}
