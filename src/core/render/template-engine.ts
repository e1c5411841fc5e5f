import { createRequire } from 'node:module'
import type { Context, Emitter, Liquid, Template, Value } from 'liquidjs'
import { shellQuote } from './shell.ts'
import { ExactNumber } from './template-scope.ts'

const require = createRequire(import.meta.url)

/** Characters of a template. */
const MAX_TEMPLATE_LENGTH = 65_536
/** Characters and list items that one rendering may produce in total. */
export const TEMPLATE_MEMORY = 4 << 20

const FILE_TAGS = ['include', 'render', 'layout', 'block']
/**
 * `sample` renders a different file from the same secret each time. The others evaluate an expression given as text: it
 * could come from a value, and the names in it are not known in advance.
 */
const REMOVED_FILTERS = [
  'sample',
  'where_exp',
  'reject_exp',
  'group_by_exp',
  'has_exp',
  'find_exp',
  'find_index_exp',
]
/** Their output is longer than their input, and Liquid counts only the input. */
const GROWING_FILTERS = ['cgi_escape', 'uri_escape', 'url_decode', 'url_encode', 'slugify', 'shell_quote']

/** A refusal with a message of our own, which is safe to show. */
export class TemplateRefusal extends Error {
  override readonly name = 'TemplateRefusal'
}

/** A Liquid engine that reads no files and accepts no unknown names. Loads liquidjs, which only templates need. */
export function createEngine(): Liquid {
  const liquid = require('liquidjs') as typeof import('liquidjs')
  const engine = new liquid.Liquid({
    parseLimit: MAX_TEMPLATE_LENGTH,
    memoryLimit: TEMPLATE_MEMORY,
    strictVariables: true,
    strictFilters: true,
    lenientIf: true,
    ownPropertyOnly: true,
    outputEscape: textOf,
    // In place of the file system.
    templates: {},
  })
  engine.registerFilter('url_encode', encodeUrl)
  engine.registerFilter('shell_quote', quoteForShell)
  refuseCurrentTime(engine)
  // Output is never escaped, so `raw` has no effect; unprintable values are refused with it too.
  engine.registerFilter('raw', (value: unknown) => value)
  for (const name of REMOVED_FILTERS) delete engine.filters[name]
  countOutput(engine)
  for (const tag of FILE_TAGS) engine.registerTag(tag, fileTag(liquid, tag))
  engine.registerTag('assign', strictAssign(liquid))
  return engine
}

/** Liquid's filter encodes a blank as `+`, which only form data decodes: in the password of a URL it stays a plus. */
function encodeUrl(value: unknown): string {
  const encoded = encodeURIComponent(textOf(value))
  return encoded.replaceAll(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`)
}

const DATE_FILTERS = ['date', 'date_to_xmlschema', 'date_to_rfc822', 'date_to_string', 'date_to_long_string']

/** A file depends on Vault's values only: with the current time in it, it would change at every refresh. */
function refuseCurrentTime(engine: Liquid): void {
  for (const name of DATE_FILTERS) {
    const filter = engine.filters[name]
    if (typeof filter !== 'function') continue
    engine.registerFilter(name, function (value: unknown, ...args) {
      if (value === 'now' || value === 'today') {
        throw new TemplateRefusal('asks for the present time, and would make another file at each refresh')
      }
      return filter.call(this, value, ...args)
    })
  }
}

function quoteForShell(value: unknown): string {
  const text = textOf(value)
  if (text.includes('\0')) throw new TemplateRefusal('holds a NUL character, which no shell can')
  return shellQuote(text)
}

function textOf(value: unknown): string {
  return String(refuseUnprintable(value))
}

function refuseUnprintable(value: unknown): unknown {
  if (value === undefined || value === null) throw new TemplateRefusal('has no value')
  if (typeof value !== 'object' || value instanceof ExactNumber) return value
  throw new TemplateRefusal(
    'is a list or an object: name one of its values, or write it with the filter json',
  )
}

/** Liquid counts the input of filters but not the output of loops. */
function countOutput(engine: Liquid): void {
  const { renderer, filters } = engine
  const render = renderer.renderTemplates
  renderer.renderTemplates = (templates: Template[], context: Context, emitter?: Emitter) =>
    render.call(renderer, templates, context, emitter ?? countingEmitter(context))
  for (const name of GROWING_FILTERS) {
    const filter = filters[name]
    if (typeof filter !== 'function') continue
    engine.registerFilter(name, function (...args) {
      const output: unknown = filter.apply(this, args)
      this.context.memoryLimit.use(String(output).length)
      return output
    })
  }
}

function countingEmitter({ memoryLimit }: Context): Emitter {
  return {
    buffer: '',
    write(output: unknown) {
      const text = String(output ?? '')
      memoryLimit.use(text.length)
      this.buffer += text
    },
  }
}

function fileTag({ Tag }: typeof import('liquidjs'), name: string) {
  return class extends Tag {
    constructor(...args: ConstructorParameters<typeof Tag>) {
      super(...args)
      throw new Error(`tag "${name}" reads a file, which a template here cannot`)
    }

    override render(): void {}
  }
}

/** An unknown name is allowed in a condition (lenientIf), not in an assignment. */
function strictAssign({ AssignTag }: typeof import('liquidjs')) {
  return class extends AssignTag {
    override *render(context: Context): Generator<unknown, void, unknown> {
      // Private in Liquid's types; its own assign uses them.
      const name: string = Reflect.get(this, 'key')
      const value: Value = Reflect.get(this, 'value')
      context.bottom()[name] = yield value.value(context, false)
    }
  }
}
