import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Group, LeaveReason, Message, Peer } from '../../src/peer/api.ts'
import type { PeerId } from '../../src/shared/core/address.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { eventually } from './eventually.ts'

/** What a group told its user, in order. */
export type Told =
  | { readonly event: 'member'; readonly peerId: PeerId; readonly verified: boolean }
  | { readonly event: 'left'; readonly peerId: PeerId; readonly reason: LeaveReason }

/** A peer in a topic, and what it was told. */
export interface Seat {
  readonly peer: Peer
  readonly peerId: PeerId
  readonly group: Group
  readonly told: readonly Told[]
  readonly messages: readonly Message[]
}

export async function sit(peer: Peer, topic = 'lobby'): Promise<Seat> {
  const group = await peer.join(topic)
  const told: Told[] = []
  const messages: Message[] = []
  group.on('member', ({ peerId, verified }) => told.push({ event: 'member', peerId, verified }))
  group.on('left', ({ peerId, reason }) => told.push({ event: 'left', peerId, reason }))
  group.on('message', message => messages.push(message))
  return { peer, peerId: peer.peerId, group, told, messages }
}

/** Peer ids in the group's list, as it gives them: a double listing shows. */
export function seen({ group }: Pick<Seat, 'group'>): PeerId[] {
  return group.members().map(({ peerId }) => peerId)
}

/** Waits until each of `seats` lists exactly the others, reached and proven. */
export async function allMeet(seats: readonly Seat[], options: { withinMs?: number } = {}): Promise<void> {
  const all = seats.map(({ peerId }) => peerId)
  await eventually(
    `${seats.length} members list each other`,
    () => {
      for (const seat of seats) {
        assert.deepEqual(seen(seat).toSorted(), all.filter(peerId => peerId !== seat.peerId).toSorted())
        assert.ok(seat.group.members().every(({ verified }) => verified))
      }
    },
    { withinMs: 40_000, ...options }
  )
}

/** Everybody sends everybody a message and gets the receipt. */
export async function allTalk(seats: readonly Seat[]): Promise<void> {
  await Promise.all(
    seats.flatMap(from =>
      seats
        .filter(to => to !== from)
        .map(async to => {
          const receipt = await from.group.send(to.peerId, { from: from.peerId, to: to.peerId })
          assert.equal(receipt.to, to.peerId)
          const message = to.messages.find(({ from: sender, id }) => sender === from.peerId && id === receipt.id)
          assert.deepEqual(message?.value, { from: from.peerId, to: to.peerId })
        })
    )
  )
}

/**
 * `seat` was told once that it reached each of `members`, and of nobody that left. Who is slow to be reached may have been
 * listed before, once.
 */
export function cameOnce(seat: Seat, ...members: readonly Seat[]): void {
  const toldOf = (isReached: boolean): PeerId[] =>
    seat.told.filter(told => told.event === 'member' && told.verified === isReached).map(({ peerId }) => peerId)
  const wanted = members.map(({ peerId }) => peerId)
  const listed = toldOf(false)
  assert.deepEqual(toldOf(true).toSorted(), wanted.toSorted())
  assert.ok(listed.every(peerId => wanted.includes(peerId)))
  assert.equal(new Set(listed).size, listed.length)
  assert.deepEqual(
    seat.told.filter(({ event }) => event === 'left'),
    []
  )
}

/** Who provides a topic key, asked at one node. */
export async function providersAt(node: Node, key: Uint8Array): Promise<PeerId[]> {
  const found = await Array.fromAsync(node.dht.providers(key, { signal: AbortSignal.timeout(20_000) }))
  return found.map(({ peerId }) => peerId)
}

/** A folder that is gone with its scope. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'muster-topics-'))
  return { path, [Symbol.asyncDispose]: async () => await rm(path, { recursive: true, force: true }) }
}

/** A port nobody listens on right now. */
export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  assert.ok(address !== null && typeof address === 'object')
  return address.port
}
