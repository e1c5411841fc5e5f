import { fileURLToPath } from 'node:url'
import {
  type GrpcObject,
  loadPackageDefinition,
  type ServiceClientConstructor,
  type ServiceDefinition,
} from '@grpc/grpc-js'
import { loadSync, type Options } from '@grpc/proto-loader'

/** proto/ is beside src/ and dist/, and this file is two levels below in both. */
export const PROTO_DIR = fileURLToPath(new URL('../../proto/', import.meta.url))

/** Messages in JavaScript: field names as in the proto file, 64-bit integers as numbers, all fields present. */
const LOAD_OPTIONS: Options = { keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true }

/** Client constructors of the services that `file` defines in `packageName`, by service name. */
export function loadClients(file: string, packageName: string, protoDir = PROTO_DIR): Clients {
  let found: GrpcObject | GrpcObject[string] = loadPackageDefinition(
    loadSync(file, { ...LOAD_OPTIONS, includeDirs: [protoDir] }),
  )
  for (const part of packageName.split('.')) found = (found as GrpcObject)[part] ?? {}
  return found as Clients
}

/** The service `name` ("csi.v1.Node") of `file` in proto/. @throws Error when the file defines no such service */
export function loadService(file: string, name: string, protoDir = PROTO_DIR): ServiceDefinition {
  const dot = name.lastIndexOf('.')
  const client = loadClients(file, name.slice(0, dot), protoDir)[name.slice(dot + 1)]
  if (!client) throw new Error(`${file} defines no service ${name}`)
  return client.service
}

type Clients = Readonly<Record<string, ServiceClientConstructor>>
