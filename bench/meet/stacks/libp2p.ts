import { CID } from 'multiformats/cid'
import { create as digest } from 'multiformats/hashes/digest'
import { type KadNode, settleKadNodes, startKadNode } from '../../common/kad-node.ts'
import type { Stack } from './stack.ts'

const keyOf = (topic: string) => CID.createV1(0x55, digest(0x12, Buffer.from(topic, 'hex')))

const QUERY_MS = 10_000

/** A node of the network. The newcomer is configured in newcomers/libp2p.js and keeps its defaults. */
async function start(host: string, bootstrap: string | undefined): Promise<KadNode> {
  const started = await startKadNode(host, bootstrap, { protocol: '/meet/kad/1.0.0' })
  await started.node.handle('/meet/echo/1.0.0', stream => {
    stream.addEventListener('message', event => stream.send(event.data.subarray()))
  })
  return started
}

const nodes: KadNode[] = []
let member: KadNode['node']

/** Whether a look-up names a provider. */
async function finds(node: KadNode['node'], topic: string): Promise<boolean> {
  try {
    for await (const event of node.services.dht.findProviders(keyOf(topic), {
      signal: AbortSignal.timeout(QUERY_MS)
    })) {
      if (event.name === 'PROVIDER' && event.providers.length > 0) return true
    }
  } catch {
    // one node that does not answer is no reason to stop: asked again
  }
  return false
}

/** Puts the member under the topic; how many nodes were told. */
async function holders(topic: string): Promise<number> {
  let told = 0
  try {
    for await (const event of member.services.dht.provide(keyOf(topic), { signal: AbortSignal.timeout(QUERY_MS) })) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') told++
    }
  } catch {
    // one node that does not answer is no reason to stop
  }
  return told
}

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap
    for (let i = 0; i < count; i++) {
      const started = await start(host, known)
      known ??= started.node.getMultiaddrs()[0]?.toString()
      nodes.push(started)
    }
    return nodes[0]?.node.getMultiaddrs()[0]?.toString() ?? ''
  },
  async settle() {
    await settleKadNodes(nodes)
  },
  async member(host, bootstrap) {
    const started = await start(host, bootstrap)
    await settleKadNodes([started])
    member = started.node
  },
  async join(topic) {
    for (let tries = 0; tries < 3; tries++) if ((await holders(topic)) > 0) return
  },
  async lists(topic) {
    // not by the bootstrap, which every newcomer asks: what it learns now would be known to it then
    const asked = nodes.at(-1)?.node
    return asked !== undefined && (await finds(asked, topic))
  },
  async leave(topic) {
    await member.services.dht.cancelReprovide(keyOf(topic))
  }
}
