import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type GossipSub, gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Libp2p, ServiceMap } from '@libp2p/interface'
import { ping } from '@libp2p/ping'
import { createIdentity } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import type { GossipVerdict } from '../../src/shared/node/port.ts'
import { gossipTopic } from '../../src/shared/wire/broadcast.ts'
import { broadcastData, crier, envelopeOf, SQUARE, texts } from '../support/criers.ts'
import { eventually } from '../support/eventually.ts'
import { forged, rpcFrame, type Spammer, spammer } from '../support/gossip-attacker.ts'
import { ourNode, placeOf, plainNode, Scope, shiftableTime } from '../support/plain.ts'

const TEST = { timeout: 60_000 }
const TOPIC = gossipTopic('traps', SQUARE.id)

type PlainGossip = Libp2p<ServiceMap & { pubsub: GossipSub & { getScore(id: string): number } }>

/** `createLibp2p` with `gossipsub`, as in its documentation. */
async function plainGossip(scope: Scope): Promise<{ readonly node: PlainGossip; readonly heard: string[] }> {
  const services = { identify: identify(), ping: ping(), pubsub: gossipsub() }
  // 1,000 a second: another trap (T9) would keep neighbours out
  const connectionManager = { inboundConnectionThreshold: 1_000 }
  const node = (await plainNode(scope, {
    libp2p: { services, connectionManager } as never
  })) as unknown as PlainGossip
  const heard: string[] = []
  node.services.pubsub.addEventListener('message', ({ detail }) => heard.push(new TextDecoder().decode(detail.data)))
  node.services.pubsub.subscribe(TOPIC)
  return { node, heard }
}

async function attacker(scope: Scope): Promise<Spammer> {
  return await spammer(scope, await createIdentity(), TOPIC)
}

/** Sends 200 messages with bad signatures, and a good one behind them. */
async function sendForged(by: Spammer, victim: Libp2p): Promise<void> {
  const stream = await by.attack(victim)
  for (let at = 0; at < 200; at++) {
    stream.send(rpcFrame({ messages: [forged(await by.sign(Uint8Array.of(at)))] }))
  }
}

describe('T19: 200 messages with bad signatures', () => {
  it('plain: the sender keeps its score', TEST, async () => {
    await using scope = new Scope()
    const { node, heard } = await plainGossip(scope)
    const by = await attacker(scope)
    await sendForged(by, node)
    const stream = await by.attack(node)
    stream.send(rpcFrame({ messages: [await by.sign(new TextEncoder().encode('I am still here'))] }))
    await eventually('it is still listened to', () => heard.length === 1)
    assert.ok(node.services.pubsub.getScore(by.peerId) >= 0)
  })

  it('ours: the sender is not listened to any more', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    const { judged } = await crier(scope, node)
    await eventually('it gossips', () => node.gossip.running !== undefined)
    const by = await attacker(scope)
    await sendForged(by, node.libp2p)
    await eventually('it is graylisted', () => (node.gossip.running?.scoreOf(by.peerId) ?? 0) < -80)
    await eventually('it is no neighbour', () => node.gossip.neighbours(SQUARE.id).length === 0)
    const stream = await by.attack(node.libp2p)
    stream.send(rpcFrame({ messages: [await by.sign(new TextEncoder().encode('I am still here'))] }))
    await (node as Libp2pNode).ping(by.peerId).catch(() => undefined) // it was there before: the order of a connection
    assert.deepEqual(judged, {})
  })
})

describe('T19: a message that was captured, again when gossipsub has forgotten it', () => {
  const FORGOTTEN_MS = 121_000

  it('plain: it is delivered again', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const { node, heard } = await plainGossip(scope)
    const by = await attacker(scope)
    const captured = await by.sign(new TextEncoder().encode('pay ben 10'))
    const stream = await by.attack(node)
    stream.send(rpcFrame({ messages: [captured] }))
    await eventually('it arrives', () => heard.length === 1)
    time.forward(FORGOTTEN_MS)
    await eventually('it arrives again', () => {
      stream.send(rpcFrame({ messages: [captured] }))
      return heard.length === 2
    })
  })

  it('ours: it is not, whatever its author’s clock says', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const node = await ourNode(scope)
    const ana = await crier(scope, node)
    await eventually('it gossips', () => node.gossip.running !== undefined)
    const identity = await createIdentity()
    const by = await spammer(scope, identity, TOPIC)
    const envelope = await envelopeOf(identity, Date.now())
    // its clock is ahead by nearly all that is allowed: the time window alone would let it in again
    const captured = await by.sign(broadcastData(envelope, Date.now(), { sentMs: Date.now() + 115_000 }))
    const stream = await by.attack(node.libp2p)
    stream.send(rpcFrame({ messages: [captured] }))
    await eventually('it arrives', () => ana.heard.length === 1)
    time.forward(FORGOTTEN_MS)
    await eventually('gossipsub takes it for new', () => {
      stream.send(rpcFrame({ messages: [captured] }))
      return (ana.judged.replay ?? 0) > 0
    })
    assert.equal(ana.heard.length, 1)
  })
})

describe('T31: many neighbours at one address', () => {
  const LEAVES = 16
  const MESSAGES = 20

  it('plain: the hub passes on next to nothing', TEST, async () => {
    await using scope = new Scope()
    const hub = await plainGossip(scope)
    const leaves = await Promise.all(Array.from({ length: LEAVES }, () => plainGossip(scope)))
    for (const { node } of leaves) await node.dial(hub.node.getMultiaddrs())
    await eventually('the hub has neighbours, or refuses them', () => {
      const scores = leaves.map(({ node }) => hub.node.services.pubsub.getScore(node.peerId.toString()))
      return scores.every(score => score < 0)
    })
    const [speaker, ...others] = leaves
    assert.ok(speaker !== undefined)
    for (let at = 0; at < MESSAGES; at++) {
      await speaker.node.services.pubsub.publish(TOPIC, new TextEncoder().encode(`${at}`)).catch(() => undefined)
    }
    await new Promise(resolve => setTimeout(resolve, 1_500)) // nothing comes: there is no fact to wait for
    const arrived = others.reduce((sum, { heard }) => sum + heard.length, 0)
    assert.ok(arrived < (others.length * MESSAGES) / 2, `${arrived} of ${others.length * MESSAGES} arrived`)
  })

  it('ours: everything arrives', TEST, async () => {
    await using scope = new Scope()
    const hubNode = await ourNode(scope, { mayBeAlone: true })
    await crier(scope, hubNode)
    const leaves = await Promise.all(
      Array.from({ length: LEAVES }, async () => await crier(scope, await ourNode(scope)))
    )
    for (const { node } of leaves) await node.connect(placeOf(hubNode))
    // its mesh has 12 places at most: the others ask it for what they hear of
    const subscribers = ({ gossip }: Libp2pNode): number => gossip.running?.subscribers(SQUARE.id) ?? 0
    await eventually('each knows the hub, and the hub each', () => {
      assert.equal(subscribers(hubNode), LEAVES)
      assert.ok(leaves.every(({ node }) => subscribers(node as Libp2pNode) >= 1))
    })
    const [speaker, ...others] = leaves
    assert.ok(speaker !== undefined)
    const said = Array.from({ length: MESSAGES }, (_, at) => `${at}`)
    for (const text of said) await speaker.say(text)
    await eventually('everything is everywhere', () => others.every(({ heard }) => heard.length === MESSAGES))
    for (const each of others) assert.deepEqual(texts(each).toSorted(), said.toSorted())
  })
})

describe('T18: a neighbour that stops reading', () => {
  const CHUNK = 60_000
  const CHUNKS = 300 // 18 MB

  /** Bytes that wait in streams of gossipsub. */
  function unsent(libp2p: Libp2p): number {
    const streams = libp2p.getConnections().flatMap(({ streams: all }) => all)
    return streams
      .filter(({ protocol }) => protocol.startsWith('/meshsub/'))
      .reduce(
        (sum, stream) => sum + (stream as unknown as { writeBuffer: { byteLength: number } }).writeBuffer.byteLength,
        0
      )
  }

  async function deaf(scope: Scope, victim: Libp2p): Promise<Spammer> {
    const by = await attacker(scope)
    await by.libp2p.unhandle('/meshsub/1.2.0')
    await by.libp2p.handle('/meshsub/1.2.0', stream => stream.pause())
    await by.attack(victim)
    return by
  }

  it('plain: what it does not read piles up', TEST, async () => {
    await using scope = new Scope()
    const { node } = await plainGossip(scope)
    await deaf(scope, node)
    await eventually('it is there', () => node.services.pubsub.getSubscribers(TOPIC).length === 1)
    await eventually('there is a stream to it', async () => {
      await node.services.pubsub.publish(TOPIC, Uint8Array.of(1))
      return node
        .getConnections()
        .some(({ streams }) =>
          streams.some(each => each.protocol.startsWith('/meshsub/') && each.direction === 'outbound')
        )
    })
    for (let at = 0; at < CHUNKS; at++) await node.services.pubsub.publish(TOPIC, new Uint8Array(CHUNK))
    assert.ok(unsent(node) > 12_000_000, `${unsent(node)} bytes wait`)
  })

  it('ours: its stream is given up, and others go on', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope, { mayBeAlone: true })
    const accept = async (): Promise<GossipVerdict> => 'accept'
    node.gossip.subscribe(SQUARE.id, accept)
    const ben = await ourNode(scope)
    let last = ''
    ben.gossip.subscribe(SQUARE.id, async ({ data }) => {
      last = new TextDecoder().decode(data)
      return 'accept'
    })
    await ben.connect(placeOf(node))
    await deaf(scope, node.libp2p)
    await eventually('both are neighbours', () => node.gossip.neighbours(SQUARE.id).length === 2)
    let most = 0
    for (let at = 0; at < CHUNKS; at++) {
      await node.gossip.publish(SQUARE.id, new Uint8Array(CHUNK))
      most = Math.max(most, unsent(node.libp2p))
      if (at % 10 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    assert.ok(most < 3 * 4_194_304, `${most} bytes waited`)
    await eventually('ben hears what is said then', async () => {
      await node.gossip.publish(SQUARE.id, new TextEncoder().encode('are you there?'))
      return last === 'are you there?'
    })
  })
})
