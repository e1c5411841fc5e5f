import { parentPort, workerData } from 'node:worker_threads'
import { readSets } from './set-reader.ts'

let isStopped = false
parentPort?.once('message', () => {
  isStopped = true
})
parentPort?.postMessage(await readSets(workerData, () => isStopped))
