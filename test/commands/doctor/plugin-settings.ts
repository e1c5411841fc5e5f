import t from 'tap'
import { readPluginProcess } from '../../../src/commands/doctor/plugin-settings.ts'

const inPod = { KUBERNETES_SERVICE_HOST: '10.0.0.1' }
const plugin = () => 'node\0--no-maglev\0/app/dist/main.js\0--vault-addr=https://v\0--imports=kube\0'

t.test("in the plugin's pod the flags are those of process 1", async (t) => {
  t.strictSame(readPluginProcess(inPod, plugin), ['--vault-addr=https://v', '--imports=kube'])
})

t.test('in another pod, on a host, or with a kubeconfig there are none', async (t) => {
  t.equal(
    readPluginProcess(inPod, () => '/sbin/init\0'),
    undefined,
  )
  t.equal(readPluginProcess({}, plugin), undefined)
  t.equal(readPluginProcess({ ...inPod, KUBECONFIG: '/k' }, plugin), undefined)
})
