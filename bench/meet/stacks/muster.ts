import { type Bootstrap, createBootstrap, createPeer, type Group, type Peer } from '../../../src/index.ts'
import { topicOf } from '../../../src/shared/core/topic.ts'
import type { Stack } from './stack.ts'

let bootstrapNode: Bootstrap | undefined
const peers: Peer[] = []
let member: Peer
const groups = new Map<string, Group>()

const idle = (host: string, bootstrap: string) =>
  createPeer({ listen: `${host}:0`, bootstrap: [bootstrap], memory: true })

export const stack: Stack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap
    for (let i = 0; i < count; i++) {
      if (known === undefined) {
        bootstrapNode = await createBootstrap({ listen: `${host}:0`, memory: true, http: 'off' })
        known = bootstrapNode.addresses[0] ?? ''
      } else peers.push(await idle(host, known))
    }
    return known ?? ''
  },
  async settle() {
    for (const peer of peers) await peer.node.dht.answers()
  },
  async member(host, bootstrap) {
    member = await idle(host, bootstrap)
    await member.node.dht.ready()
  },
  async join(topic) {
    const group = await member.join(topic)
    group.on('message', () => undefined)
    groups.set(topic, group)
  },
  async lists(topic) {
    const { id } = await topicOf(topic)
    const { topics } = (await bootstrapNode?.status()) ?? { topics: [] }
    return topics.some(({ key, members }) => key === id && Number(members) > 0)
  },
  async leave(topic) {
    await groups.get(topic)?.leave()
    groups.delete(topic)
  }
}
