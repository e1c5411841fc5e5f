import t from 'tap'
import { servePlugin } from '../harness/kubelet/grpc.ts'

t.test('the plugin reports its name, its version and no plugin capabilities', async (t) => {
  const { kubelet } = await servePlugin(t)
  t.match(await kubelet.pluginInfo(), { name: 'secrets.example.org', vendor_version: '1.2.3' })
  t.strictSame(await kubelet.raw('GetPluginCapabilities', {}), { capabilities: [] })
})

t.test('a probe reports whether the plugin is ready', async (t) => {
  let ready = false
  const { kubelet } = await servePlugin(t, { ready: () => ready })
  t.equal(await kubelet.probe(), false)
  t.match(await kubelet.raw('Probe', {}), { ready: { value: false } }, 'said, not left out')
  ready = true
  t.equal(await kubelet.probe(), true)
})
