import { randomBytes } from 'node:crypto'
import { type Bootstrap, createBootstrap, createPeer, type Peer } from '../../../src/index.ts'
import type { RecordKey } from '../../../src/peer/api.ts'
import type { PeerAddress } from '../../../src/shared/core/address.ts'
import { systemClock } from '../../../src/shared/core/clock.ts'
import type { Node } from '../../../src/shared/node/port.ts'
import { Lines } from '../../../src/shared/records/lines.ts'
import { RECORD_PROTOCOL } from '../../../src/shared/wire/record.ts'
import type { Kind } from '../contestants.ts'
import { checkValue, measure } from '../measure.ts'
import { type Entry, observed, type Stack } from './stack.ts'

/** Longest wait for a first entry in a routing table. */
const READY_MS = 10_000
/** Longest time to find out who holds what. */
const ASKING_MS = 60_000

/** What it takes to see who holds a record. */
export interface MusterStack extends Stack {
  /** All nodes of this process. */
  members(): Promise<PeerAddress[]>
  /** Asks each of them for each place: whether it holds something there. Never asks itself. */
  holds(members: readonly PeerAddress[], places: readonly Uint8Array[]): Promise<boolean[][]>
}

let bootstrapNode: Bootstrap | undefined
const peers: Peer[] = []
const last = (): Peer => peers.at(-1) as Peer
let requests = 0

/** Every frame on a record stream that this side opened is a request. */
function countRequests(node: Pick<Node, 'open'>): void {
  const open = node.open.bind(node)
  node.open = async (peerId, protocol, options) => {
    const channel = await open(peerId, protocol, options)
    if (protocol !== RECORD_PROTOCOL) return channel
    const send = channel.send.bind(channel)
    channel.send = frame => {
      requests++
      return send(frame)
    }
    return channel
  }
}

const keyOf: Partial<Record<Kind, () => RecordKey | null>> = {
  open: () => randomBytes(16).toString('hex'),
  owned: () => ({ name: randomBytes(16).toString('hex') }),
  content: () => null
}

export const stack: MusterStack = {
  async nodes(count, host, bootstrap) {
    let known = bootstrap
    for (let i = 0; i < count; i++) {
      if (known === undefined) {
        bootstrapNode = await createBootstrap({ listen: `${host}:0`, memory: true, http: 'off' })
        known = bootstrapNode.addresses[0] ?? ''
        continue
      }
      const peer = await createPeer({ listen: `${host}:0`, bootstrap: [known], memory: true })
      countRequests(peer.node)
      peers.push(peer)
    }
    return known ?? ''
  },
  async settle() {
    for (const peer of peers) {
      try {
        await peer.node.dht.ready({ signal: AbortSignal.timeout(READY_MS) })
        // Who looks for what is not there meets the nodes closest to it; the next self-query may be a minute away.
        await peer.records.get(randomBytes(16).toString('hex'))
      } catch {
        if (peer.node.dht.size > 0) continue
        // kad-dht pings a new contact once, and on a busy machine in vain: connected anew, it is asked again
        for (const { peerId } of peer.node.connections()) await peer.node.disconnect(peerId)
      }
    }
  },
  async tables() {
    return [bootstrapNode, ...peers].flatMap(each => (each === undefined ? [] : [each.node.dht.size]))
  },
  async put(kind, values) {
    const keys = values.map(() => keyOf[kind]?.() ?? null)
    const entries: Entry[] = []
    const spent = await measure(
      values.length,
      () => requests,
      async i => {
        const value = values[i] as Uint8Array
        const { key, stored } = await last().records.put(keys[i] as RecordKey | null, value)
        entries.push({ key, value })
        return stored
      }
    )
    return { ...spent, entries }
  },
  async get(_kind, entries) {
    const read = async (i: number): Promise<number> => {
      const { key, value } = entries[i] as Entry
      const found = await last().records.get(key as RecordKey)
      checkValue(found?.value as Uint8Array | undefined, value)
      return 0
    }
    return await measure(entries.length, () => requests, read)
  },
  ...observed,
  async members() {
    return [bootstrapNode, ...peers].flatMap(each =>
      each === undefined ? [] : [{ peerId: each.node.peerId, addresses: [...each.node.addresses] }]
    )
  },
  async holds(members, places) {
    const { node } = last()
    const lines = new Lines({ node, clock: systemClock, onChanged: () => undefined })
    const signal = AbortSignal.timeout(ASKING_MS)
    const asked = async (member: PeerAddress): Promise<boolean[]> => {
      const answers: boolean[] = []
      for (const place of places) {
        answers.push((await lines.ask(member, 'find', { place }, signal)).envelope !== undefined)
      }
      return answers
    }
    try {
      return await Promise.all(members.map(asked))
    } finally {
      await lines.close()
    }
  }
}
