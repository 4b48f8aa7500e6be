import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import type { GossipMessage, GossipVerdict, Node } from '../../src/shared/node/port.ts'
import { openProof } from '../../src/shared/node/pubsub.ts'
import { gossipTopic } from '../../src/shared/wire/broadcast.ts'
import { eventually } from '../support/eventually.ts'
import { addressOf, bytes, type NodeHarness, nodes, rejectsWith, TEST, text } from './node-words.ts'

interface Listener {
  readonly node: Node
  readonly heard: GossipMessage[]
  readonly stop: () => void
}

/** A node in the topic that accepts everything, or what `verdict` says. */
function listen(node: Node, { id }: Topic, verdict: (said: string) => GossipVerdict = () => 'accept'): Listener {
  const heard: GossipMessage[] = []
  const stop = node.gossip.subscribe(id, async message => {
    const judged = verdict(text(message.data))
    if (judged === 'accept') heard.push(message)
    return judged
  })
  return { node, heard, stop }
}

const said = ({ heard }: Listener): string[] => heard.map(({ data }) => text(data))

/** Nodes in a row: each is connected to the next only. */
async function row(net: NodeHarness, count: number): Promise<Node[]> {
  const all = await Promise.all(Array.from({ length: count }, () => net.createNode()))
  for (const [at, node] of all.entries()) {
    const next = all[at + 1]
    if (next !== undefined) await node.connect(addressOf(next))
  }
  return all
}

/** Waits until each has its neighbours of the row. */
async function meshed(all: readonly Node[], { id }: Topic): Promise<void> {
  await eventually('the mesh is there', () =>
    all.every((node, at) =>
      [all[at - 1], all[at + 1]].every(each => each === undefined || node.gossip.neighbours(id).includes(each.peerId))
    )
  )
}

/** What gossip promises. */
export function gossipContract(make: () => Promise<NodeHarness>): void {
  describe('gossip', () => {
    it('reaches everybody over many hops, once, with the author and its signature', TEST, async () => {
      await using net = await make()
      const topic = await topicOf('gossip')
      const all = await row(net, 4)
      const listeners = all.map(node => listen(node, topic))
      await meshed(all, topic)
      const [first, second, , last] = all
      assert.ok(first !== undefined && second !== undefined && last !== undefined)
      const { peers, proof } = await first.gossip.publish(topic.id, bytes('hello'))
      assert.deepEqual(peers, [second.peerId])
      await last.gossip.publish(topic.id, bytes('and back'))
      await eventually('both messages are everywhere', () =>
        listeners.every(({ heard, node }) => heard.length === (node === first || node === last ? 1 : 2))
      )
      for (const { heard, node } of listeners) {
        const message: GossipMessage | undefined = heard.find(({ author }) => author === first.peerId)
        if (node === first) continue
        assert.ok(message !== undefined)
        assert.equal(message.topicId, topic.id)
        assert.ok(node.isConnected(message.from))
        assert.deepEqual(message.proof, proof, 'the same bytes everywhere')
      }
      const opened = await openProof(proof)
      assert.deepEqual(
        { ...opened, data: text(opened.data) },
        { author: first.peerId, topic: gossipTopic(first.network, topic.id), data: 'hello' }
      )
    })

    it('passes on what is accepted, and neither what is ignored nor what is rejected', TEST, async () => {
      await using net = await make()
      const topic = await topicOf('gossip')
      const all = await row(net, 3)
      const judged = (what: string): GossipVerdict =>
        what.startsWith('ignore') ? 'ignore' : what.startsWith('reject') ? 'reject' : 'accept'
      const listeners = all.map((node, at) => listen(node, topic, at === 1 ? judged : undefined))
      await meshed(all, topic)
      const [first] = all
      assert.ok(first !== undefined)
      for (const what of ['ignore 1', 'reject 1', 'hello', 'ignore 2', 'end']) {
        await first.gossip.publish(topic.id, bytes(what))
      }
      const last = listeners[2]
      assert.ok(last !== undefined)
      await eventually('the end arrives', () => said(last).includes('end') || said(last).length === 2)
      assert.deepEqual(said(last).toSorted(), ['end', 'hello'])
    })

    it('takes nothing more from a neighbour that goes on sending what is rejected', TEST, async () => {
      await using net = await make()
      const topic = await topicOf('gossip')
      const all = await row(net, 2)
      const [bad, good] = all
      assert.ok(bad !== undefined && good !== undefined)
      listen(bad, topic)
      let judged = 0
      const { heard } = listen(good, topic, what => {
        judged++
        return what.startsWith('bad') ? 'reject' : 'accept'
      })
      await meshed(all, topic)
      let sent = 0
      await eventually('it is out of the mesh', async () => {
        await bad.gossip.publish(topic.id, bytes(`bad ${++sent}`))
        return !good.gossip.neighbours(topic.id).includes(bad.peerId)
      })
      await eventually('nothing of it is judged any more', async () => {
        const before = judged
        await bad.gossip.publish(topic.id, bytes(`bad ${++sent}`))
        await bad.ping(good.peerId)
        return judged === before
      })
      await bad.gossip.publish(topic.id, bytes('good'))
      await bad.ping(good.peerId)
      assert.deepEqual(heard, [])
    })

    it('has no neighbours when nobody is there, and that is no error', TEST, async () => {
      await using net = await make()
      const topic = await topicOf('gossip')
      const [ana] = await nodes(net, 1)
      listen(ana, topic)
      assert.deepEqual((await ana.gossip.publish(topic.id, bytes('anybody?'))).peers, [])
      assert.deepEqual(ana.gossip.neighbours(topic.id), [])
    })

    it('keeps topics apart, and ends with the subscription', TEST, async () => {
      await using net = await make()
      const [one, two] = await Promise.all([topicOf('one'), topicOf('two')])
      const all = await row(net, 2)
      const [ana, ben] = all
      assert.ok(ana !== undefined && ben !== undefined)
      listen(ana, one)
      listen(ana, two)
      const first = listen(ben, one)
      const second = listen(ben, two)
      await meshed(all, one)
      await meshed(all, two)
      await ana.gossip.publish(one.id, bytes('to one'))
      await eventually('it arrives', () => said(first).length === 1)
      first.stop()
      await eventually('ben is no neighbour any more', () => !ana.gossip.neighbours(one.id).includes(ben.peerId))
      await ana.gossip.publish(one.id, bytes('to nobody'))
      await ana.gossip.publish(two.id, bytes('to two'))
      await eventually('the other topic goes on', () => said(second).length === 1)
      assert.deepEqual(said(first), ['to one'])
      assert.deepEqual(said(second), ['to two'])
    })

    it('goes other ways when a node dies', TEST, async () => {
      await using net = await make()
      const topic = await topicOf('gossip')
      const all = await row(net, 3)
      const [ana, ben, cleo] = all
      assert.ok(ana !== undefined && ben !== undefined && cleo !== undefined)
      const listeners = all.map(node => listen(node, topic))
      await meshed(all, topic)
      await net.kill?.(ben)
      await cleo.connect(addressOf(ana))
      await eventually('they are neighbours', () => ana.gossip.neighbours(topic.id).includes(cleo.peerId))
      await ana.gossip.publish(topic.id, bytes('still here'))
      await eventually('it arrives', () => listeners[2]?.heard.length === 1)
    })

    it('refuses a second subscription to a topic, and everything once it is closed', TEST, async () => {
      await using net = await make()
      const topic = await topicOf('gossip')
      const [ana] = await nodes(net, 1)
      listen(ana, topic)
      assert.throws(() => listen(ana, topic), { code: 'options-invalid' })
      await ana.close()
      await rejectsWith('closed', ana.gossip.publish(topic.id, bytes('too late')))
    })
  })
}
