import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../../deploy/generate/deploy-files.ts'

export type Copy = { from: string | undefined; source: string; target: string }

/** What the Dockerfile's last stage, which is the image, says. */
export type Stage = {
  copies: Copy[]
  env: Record<string, string>
  entrypoint: string[]
}

/** @throws Error when the Dockerfile is written in a way that this reader does not know */
export function readLastStage(): Stage {
  const text = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
  const stages = text.split(/^FROM /m)
  const stage: Stage = { copies: [], env: {}, entrypoint: [] }
  for (const line of (stages.at(-1) ?? '').split('\n').slice(1)) {
    const [, instruction = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    if (instruction === 'COPY') stage.copies.push(readCopy(rest))
    else if (instruction === 'ENV') Object.assign(stage.env, readEnv(rest))
    else if (instruction === 'ENTRYPOINT') stage.entrypoint = JSON.parse(rest) as string[]
    else if (line !== '' && !/^(#|WORKDIR \/app$|USER )/.test(line)) throw new Error(`Dockerfile: ${line}`)
  }
  return stage
}

function readCopy(text: string): Copy {
  const [, from, source = '', target = ''] = /^(?:--from=(\S+) )?(\S+) (\S+)$/.exec(text) ?? []
  if (source === '') throw new Error(`Dockerfile: COPY ${text}`)
  return { from, source, target }
}

function readEnv(text: string): Record<string, string> {
  return Object.fromEntries(text.split(' ').map((pair) => pair.split('=', 2)))
}
