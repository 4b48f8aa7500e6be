import { Scope } from '../../src/shared/core/lifecycle.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { createLibp2pNode, type Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { nodeContract } from './node.ts'

nodeContract('libp2p over TCP', async () => {
  const scope = new Scope()
  return {
    async createNode({ network = 'contract', address = '/ip4/127.0.0.1/tcp/0' } = {}) {
      const identity = await createIdentity()
      const store = scope.own(memoryStore())
      const listen = [address]
      return scope.own(
        await createLibp2pNode({ identity, network, preset: 'private', listen, store, mayBeAlone: true })
      )
    },
    async kill(node) {
      const { libp2p } = node as Libp2pNode
      for (const connection of libp2p.getConnections()) connection.abort(new Error('killed'))
      await node.close()
    },
    [Symbol.asyncDispose]: () => scope.close()
  }
})
