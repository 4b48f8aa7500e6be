import { FakeNetwork } from '../../src/shared/node/fake.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { nodeContract } from './node.ts'

for (const latencyMs of [0, 5]) {
  nodeContract(`fake network, ${latencyMs} ms`, async () => {
    const network = new FakeNetwork({ latencyMs })
    const nodes: Node[] = []
    return {
      async createNode(options) {
        const node = await network.createNode(options)
        nodes.push(node)
        return node
      },
      kill: node => network.kill(node),
      async [Symbol.asyncDispose]() {
        for (const node of nodes) await node.close()
      }
    }
  })
}
