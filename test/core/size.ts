import t from 'tap'
import { parseSize } from '../../src/core/size.ts'

t.test('sizes are parsed as Kubernetes does', async (t) => {
  for (const [text, bytes] of [
    ['0', 0],
    ['4194304', 4_194_304],
    ['4Mi', 4_194_304],
    ['512Ki', 524_288],
    ['1.5Ki', 1536],
    ['1Gi', 1_073_741_824],
    ['1k', 1000],
    ['2M', 2_000_000],
    ['1.0001', 2],
  ] as const) {
    t.equal(parseSize(text), bytes, text)
  }
})

t.test('anything else is not a size', async (t) => {
  for (const text of ['', 'Mi', '4 Mi', '4mi', '4MB', '4KB', '-1', '1e3', '0x10', '4Mi ', '9'.repeat(20)]) {
    t.equal(parseSize(text), undefined, JSON.stringify(text))
  }
})
