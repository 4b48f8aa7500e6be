import assert from 'node:assert/strict'
import { connect, createServer, type Socket } from 'node:net'
import { type Bootstrap, createBootstrap } from '../../src/bootstrap/bootstrap.ts'
import type { Group, Peer } from '../../src/peer/api.ts'
import { createPeer } from '../../src/peer/peer.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { type Topic, topicOf } from '../../src/shared/core/topic.ts'
import type { HostTuning } from '../../src/shared/host/host.server.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { exchange } from './attacker.ts'
import { eventually } from './eventually.ts'

export const LOBBY: Topic = await topicOf('lobby')

/** A bootstrap and two members who talk to each other, whatever a stranger does meanwhile. */
export class Arena extends Scope {
  readonly uncaught: unknown[] = []
  hub!: Bootstrap
  ana!: Peer & { readonly node: Libp2pNode }
  bob!: Peer & { readonly node: Libp2pNode }
  anas!: Group
  bobs!: Group
  /** Who left in the eyes of ana and of bob. */
  readonly left: string[] = []
  #count = 0

  /** Who is attacked. */
  victim(who: 'bootstrap' | 'peer'): Libp2pNode {
    return who === 'bootstrap' ? this.hub.node : this.ana.node
  }

  async newcomer(name = 'newcomer'): Promise<Peer & { readonly node: Libp2pNode }> {
    const bootstrap = this.hub.addresses.slice(0, 1)
    return this.own(await createPeer({ name, memory: true, listen: '127.0.0.1:0', bootstrap }))
  }

  /** The honest pair exchanges a message each way, with receipts. */
  async talk(): Promise<void> {
    const text = `message ${this.#count++}`
    await exchange(this.anas, this.bobs, this.bob.peerId, `${text} to bob`)
    await exchange(this.bobs, this.anas, this.ana.peerId, `${text} to ana`)
  }

  /** The pair talks while `attack` goes on, and after it; nobody was lost, and nothing escaped. */
  async withstands(attack: () => Promise<void>): Promise<void> {
    const attacking = attack()
    attacking.catch(() => undefined) // awaited below
    await this.talk()
    await attacking
    await this.talk()
    assert.deepEqual(this.left, [])
    assert.equal(this.hub.signal.aborted || this.ana.signal.aborted || this.bob.signal.aborted, false)
    assert.equal(await this.hub.node.dht.answers(), true)
    assert.deepEqual(this.uncaught, [])
  }
}

export async function openArena(tuning: HostTuning = {}): Promise<Arena> {
  const arena = new Arena()
  const note = (thrown: unknown): void => void arena.uncaught.push(thrown)
  process.on('uncaughtException', note).on('unhandledRejection', note)
  arena.defer(() => process.off('uncaughtException', note).off('unhandledRejection', note))
  arena.hub = arena.own(await createBootstrap({ memory: true, listen: '127.0.0.1:0', http: 'off', tuning }))
  arena.ana = await arena.newcomer('ana')
  arena.bob = await arena.newcomer('bob')
  arena.anas = await arena.ana.join(LOBBY.name)
  arena.bobs = await arena.bob.join(LOBBY.name)
  for (const group of [arena.anas, arena.bobs]) {
    group.on('left', ({ peerId }) => {
      if (peerId === arena.ana.peerId || peerId === arena.bob.peerId) arena.left.push(peerId)
    })
  }
  await eventually('ana and bob have met', () => arena.anas.members().length === 1 && arena.bobs.members().length === 1)
  return arena
}

/** A TCP proxy in front of a node that can put bytes of its own into what flows towards it. */
export async function tamperingProxy(
  scope: Scope,
  node: Libp2pNode
): Promise<{ readonly address: string; inject(bytes: Uint8Array): void; readonly isClosed: () => boolean }> {
  const port = Number(/\/tcp\/(\d+)/.exec(node.addresses[0] ?? '')?.[1])
  const ends: Socket[] = []
  let behind: Socket | undefined
  const server = createServer(front => {
    behind = connect(port, '127.0.0.1')
    ends.push(front, behind)
    for (const socket of [front, behind]) socket.on('error', () => undefined)
    front.pipe(behind).pipe(front)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  scope.defer(() => {
    for (const socket of ends) socket.destroy()
    return new Promise(resolve => server.close(resolve))
  })
  const { port: own } = server.address() as { port: number }
  return {
    address: `/ip4/127.0.0.1/tcp/${own}/p2p/${node.peerId}`,
    inject: bytes => void behind?.write(bytes),
    isClosed: () => behind === undefined || behind.destroyed || behind.readableEnded
  }
}
