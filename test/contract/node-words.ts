import assert from 'node:assert/strict'
import type { PeerAddress } from '../../src/shared/core/address.ts'
import { type ErrorCode, isMusterError } from '../../src/shared/core/errors.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import { eventually } from '../support/eventually.ts'

// The words that the sentences of the node contract are made of.

/** What an implementation brings. Everything it made goes when it is disposed. */
export interface NodeHarness extends AsyncDisposable {
  /** A live node. `address` is a multiaddr to listen on; without it the harness chooses. */
  createNode(options?: { network?: string; address?: string }): Promise<Node>
  /** Ends a node without a goodbye, when the implementation can. */
  kill?(node: Node): Promise<void>
}

export const PROTOCOL = 'contract/1.0.0'
export const LIMITS = { maxFrameBytes: 2 * 1024 * 1024 }
export const HANDLING = { ...LIMITS, maxInboundPerConnection: 8 }
/** Far more than any implementation may take from a sender whose reader does not read. */
export const MAX_ACCEPTED_BYTES = 8 * 1024 * 1024
export const TEST = { timeout: 60_000 }

export async function nodes<N extends 1 | 2 | 3>(net: NodeHarness, count: N): Promise<Tuple<N>> {
  return (await Promise.all(Array.from({ length: count }, () => net.createNode()))) as Tuple<N>
}
export type Tuple<N extends 1 | 2 | 3> = N extends 1 ? [Node] : N extends 2 ? [Node, Node] : [Node, Node, Node]

/** Two nodes, each of which sees the other. */
export async function connected(net: NodeHarness): Promise<[Node, Node]> {
  const [ana, bob] = await nodes(net, 2)
  await ana.connect(addressOf(bob))
  await eventually('bob sees ana', () => bob.isConnected(ana.peerId))
  return [ana, bob]
}

/** A hub and two that know only the hub, with a DHT that answers. */
export async function gathered(net: NodeHarness): Promise<[Node, Node, Node]> {
  const [hub, ana, bob] = await nodes(net, 3)
  for (const node of [ana, bob]) {
    await node.connect(addressOf(hub))
    await node.dht.ready()
  }
  await eventually('the hub knows both', () => hub.dht.size === 2)
  return [hub, ana, bob]
}

export function addressOf(node: Node): PeerAddress {
  return { peerId: node.peerId, addresses: node.addresses }
}

export function firstAddress(node: Node): string {
  const [address] = node.addresses
  assert.ok(address !== undefined, 'the node listens')
  return address
}

export async function echo(channel: Channel): Promise<void> {
  for await (const frame of channel.frames) await channel.send(frame)
  await channel.close()
}

export async function roundTrip(from: Node, to: Node, what: string): Promise<string> {
  const channel = await from.open(to.peerId, PROTOCOL, { ...LIMITS, first: [bytes(what)] })
  const [answer] = await take(channel, 1)
  await channel.close()
  return answer === undefined ? '' : text(answer)
}

/** The next `count` frames; the channel stays as it is. */
export async function take(channel: Channel, count: number): Promise<Uint8Array[]> {
  const taken: Uint8Array[] = []
  for await (const frame of channel.frames) {
    taken.push(frame)
    if (taken.length === count) break
  }
  return taken
}

/** Why an opening failed: at once, or, where it travels together with the first frames, as soon as the answer came. */
export async function failureOf(opening: Promise<Channel>): Promise<unknown> {
  let channel: Channel
  try {
    channel = await opening
  } catch (thrown) {
    return thrown
  }
  await eventually('the channel fails', () => channel.signal.aborted)
  return channel.signal.reason
}

export async function thrownBy(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (thrown) {
    return thrown
  }
  return undefined
}

export async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<void> {
  const thrown = await thrownBy(promise)
  assert.ok(isMusterError(thrown), `expected ${code}, got ${thrown}`)
  assert.equal(thrown.code, code, thrown.message)
}

/** Waits until a number has stood still for 20 looks. */
export async function stands(value: () => number): Promise<void> {
  let [last, looks] = [Number.NaN, 0]
  await eventually('the number stands still', () => {
    looks = value() === last ? looks + 1 : 0
    last = value()
    return looks >= 20 && last > 0
  })
}

export async function providersOf(node: Node, key: Uint8Array): Promise<PeerAddress[]> {
  return await Array.fromAsync(node.dht.providers(key, { signal: AbortSignal.timeout(10_000) }))
}

export function bytes(value: string): Uint8Array {
  return new TextEncoder().encode(value)
}

export function text(value: Uint8Array): string {
  return new TextDecoder().decode(value)
}
