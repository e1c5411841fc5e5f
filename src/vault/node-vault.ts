import { createRequire } from 'node:module'
import type { Answer, TransportOptions } from './transport.ts'

/** What we use of a node-vault client. */
export type NodeVault = {
  request(options: Omit<TransportOptions, 'uri'> & { path: string }): Promise<Answer>
}

type Respond = (
  options: TransportOptions,
) => Promise<{ statusCode: number; body: Answer; request: { path: string } }>

/** The options of node-vault 0.12 that matter here; its own typings leave them open. */
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
    // It would hold each request of ours to a JSON schema that says: an object with a path and a method.
    tv4: { validate: () => true },
    // node-vault prints requests with their bodies through this, as soon as DEBUG is set.
    debug: () => {},
  })
  // It has read VAULT_TOKEN, VAULT_NAMESPACE and VAULT_PREFIX by now, whoever set them: ours go with each request.
  client.token = undefined
  client.namespace = undefined
  client.pathPrefix = ''
  return client
}

/**
 * node-vault turns every status but 200 and 204 into an error without headers, and takes any answer for good
 * whose path has sys/health in it. We judge answers ourselves, so it sees each of them as a 200.
 */
function respondWith(send: (options: TransportOptions) => Promise<Answer>): Respond {
  return async (options) => ({ statusCode: 200, body: await send(options), request: { path: '' } })
}

let loaded: ((options: ClientOptions) => Client) | undefined

/**
 * node-vault requires axios whether it is used or not, at the price of 11 MiB of resident memory on every node.
 * With a transport of our own it never is, so node-vault gets an empty object in its place.
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
