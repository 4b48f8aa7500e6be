import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PeerId } from '../../src/shared/core/address.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import type { Identity } from '../../src/shared/node/keys.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import type { Store } from '../../src/shared/store/port.ts'
import { type FakeBootstrap, type FakePeer, Village } from '../support/fake-peer.ts'

/** Worlds that are tried; `MUSTER_SIMULATIONS=5000` for a night. */
const COUNT = Number(process.env.MUSTER_SIMULATIONS ?? 150)
/** The first of them; a failure names the one to repeat alone. */
const FIRST_SEED = Number(process.env.MUSTER_SEED ?? 1)

const MAX_PEERS = 8
/** A member that died is gone from everybody's list after this long. */
const LOST_WITHIN_MS = 30_000
/** A member that said goodbye. */
const GOODBYE_WITHIN_MS = 200
/** Once all faults are over, everybody sees everybody within this time: redials and retries pause 60 s at most. */
const WHOLE_WITHIN_MS = 90_000

interface Seat {
  readonly identity: Identity
  readonly store: Store
  address: string
}

interface BootstrapSeat {
  readonly seat: Seat
  readonly upstreams: readonly string[]
  running: FakeBootstrap | undefined
}

interface Due {
  readonly atMs: number
  readonly viewer: FakePeer
  readonly gone: FakePeer
  readonly why: string
}

class Simulation {
  readonly village: Village
  readonly history: string[] = []
  readonly #random: () => number
  readonly #bootstraps: BootstrapSeat[] = []
  readonly #peers: FakePeer[] = []
  readonly #frozen = new Set<FakePeer>()
  readonly #names = new Map<PeerId, string>()
  readonly #empty: Seat[] = []
  #due: Due[] = []
  #isCut = false
  #last = 0

  constructor(seed: number) {
    this.village = new Village(seed)
    this.#random = seededRandom(seed * 7919 + 1)
  }

  async run(): Promise<void> {
    for (let i = 0; i < 1 + this.#below(3); i++) await this.#addBootstrap()
    for (let i = 0; i < 2 + this.#below(3); i++) await this.#arrive()
    const actions = 10 + this.#below(15)
    for (let i = 0; i < actions; i++) {
      await this.#act()
      await this.#pass(this.#pick([0, 0, 100, 1_000, 4_000, 12_000, 30_000]))
    }
    await this.#mend()
    await this.#becomesWhole('once everything is mended')
    for (const bootstrap of this.#bootstraps) await this.#killBootstrap(bootstrap)
    for (let i = 0; i < 6; i++) {
      await this.#actAmongMembers()
      await this.#pass(this.#pick([0, 100, 1_000, 8_000]))
    }
    await this.#becomesWhole('without any bootstrap')
    this.#checkEvents()
  }

  #note(text: string): void {
    this.history.push(`${((this.village.clock.now() - 1_700_000_000_000) / 1000).toFixed(1)} s: ${text}`)
  }

  async #act(): Promise<void> {
    const live = this.#awake()
    const actions: Array<() => Promise<unknown>> = [
      () => this.#arrive(),
      () => this.#arrive(),
      async () => live.length > 1 && (await this.#depart(this.#pick(live), 'leaves')),
      async () => live.length > 1 && (await this.#depart(this.#pick(live), 'is killed')),
      async () => live.length > 0 && (await this.#rejoin(this.#pick(live))),
      async () => live.length > 2 && this.#freeze(this.#pick(live)),
      async () => this.#thaw(),
      async () => this.#partition(),
      async () => this.#heal(),
      async () => await this.#killBootstrap(this.#pick(this.#bootstraps)),
      async () => await this.#startBootstrap(this.#pick(this.#bootstraps))
    ]
    await this.#pick(actions)()
  }

  /** Nobody but members is left: a newcomer is told the address of one. */
  async #actAmongMembers(): Promise<void> {
    const live = this.#awake()
    await this.#pick<() => Promise<unknown>>([
      async () => live.length > 0 && (await this.#arrive(this.#pick(live).address)),
      async () => live.length > 2 && (await this.#depart(this.#pick(live), 'leaves')),
      async () => live.length > 2 && (await this.#depart(this.#pick(live), 'is killed'))
    ])()
  }

  async #addBootstrap(): Promise<void> {
    const seat = await this.#newSeat()
    const bootstrap: BootstrapSeat = {
      seat,
      upstreams: this.#bootstraps.map(each => each.seat.address),
      running: undefined
    }
    this.#bootstraps.push(bootstrap)
    await this.#startBootstrap(bootstrap)
  }

  async #startBootstrap(bootstrap: BootstrapSeat): Promise<void> {
    if (bootstrap.running !== undefined) return
    this.#note(`bootstrap ${bootstrap.seat.address} starts`)
    bootstrap.running = await this.village.bootstrap({ ...bootstrap.seat, bootstrap: bootstrap.upstreams })
  }

  async #killBootstrap(bootstrap: BootstrapSeat): Promise<void> {
    if (bootstrap.running === undefined) return
    this.#note(`bootstrap ${bootstrap.seat.address} is killed`)
    await bootstrap.running.kill()
    bootstrap.running = undefined
  }

  async #newSeat(): Promise<Seat> {
    return { identity: await this.village.newIdentity(), store: memoryStore(), address: this.village.newAddress() }
  }

  /** A new peer, or one that was here before with the same identity and data. */
  async #arrive(contact?: string): Promise<void> {
    if (this.#peers.length >= MAX_PEERS) return
    const isBack = this.#empty.length > 0 && this.#random() < 0.5
    const seat = isBack ? (this.#empty.splice(this.#below(this.#empty.length), 1)[0] as Seat) : await this.#newSeat()
    if (isBack && this.#random() < 0.3) seat.address = this.village.newAddress()
    const all = this.#bootstraps.map(each => each.seat.address)
    const bootstrap = contact === undefined ? all.slice(0, 1 + this.#below(all.length)) : [contact]
    const name = this.#names.get(seat.identity.peerId) ?? `p${++this.#last}`
    this.#names.set(seat.identity.peerId, name)
    this.#note(`${name} ${isBack ? 'is back' : 'arrives'} at ${seat.address}, knows ${bootstrap.join(' ')}`)
    const peer = await this.village.peer({ ...seat, bootstrap, name })
    this.#peers.push(peer)
    this.#due = this.#due.filter(({ gone }) => gone.peerId !== peer.peerId)
    await peer.join()
  }

  async #depart(peer: FakePeer, how: 'leaves' | 'is killed'): Promise<void> {
    this.#note(`${this.#nameOf(peer)} ${how}`)
    this.#peers.splice(this.#peers.indexOf(peer), 1)
    this.#empty.push({ identity: peer.identity, store: peer.store, address: peer.address })
    this.#checkEventsOf(peer)
    await (how === 'leaves' ? peer.close() : peer.kill())
    this.#expectGone(peer, how, how === 'leaves' ? GOODBYE_WITHIN_MS : LOST_WITHIN_MS)
  }

  async #rejoin(peer: FakePeer): Promise<void> {
    this.#note(`${this.#nameOf(peer)} leaves the topic and joins again`)
    await peer.group()?.leave()
    await this.#pass(this.#pick([0, 50, 2_000]))
    if (this.#peers.includes(peer)) await peer.join()
  }

  #freeze(peer: FakePeer): void {
    if (this.#frozen.size > 0) return
    this.#note(`${this.#nameOf(peer)} is stopped`)
    this.#frozen.add(peer)
    this.village.network.freeze(peer.node)
    this.#due = []
  }

  #thaw(): void {
    for (const peer of this.#frozen) {
      this.#note(`${this.#nameOf(peer)} goes on`)
      this.village.network.thaw(peer.node)
    }
    this.#frozen.clear()
  }

  #partition(): void {
    if (this.#isCut) return
    const nodes = [...this.#peers, ...this.#bootstraps.flatMap(({ running }) => running ?? [])].map(({ node }) => node)
    const here = nodes.filter(() => this.#random() < 0.5)
    const there = nodes.filter(node => !here.includes(node))
    this.#note(`a cut around ${here.map(({ peerId }) => this.#names.get(peerId) ?? 'a bootstrap').join(' ')}`)
    this.village.network.partition(here, there)
    this.#isCut = true
    this.#due = []
  }

  #heal(): void {
    if (!this.#isCut) return
    this.#note('the cut heals')
    this.village.network.heal()
    this.#isCut = false
  }

  async #mend(): Promise<void> {
    this.#thaw()
    this.#heal()
    for (const bootstrap of this.#bootstraps) await this.#startBootstrap(bootstrap)
  }

  async #pass(ms: number): Promise<void> {
    const end = this.village.clock.now() + ms
    for (;;) {
      const next = Math.min(end, ...this.#due.map(({ atMs }) => atMs))
      await this.village.pass(Math.max(0, next - this.village.clock.now()))
      const now = this.village.clock.now()
      const due = this.#due.filter(({ atMs }) => atMs <= now)
      this.#due = this.#due.filter(({ atMs }) => atMs > now)
      for (const { viewer, gone, why } of due) {
        if (!this.#peers.includes(viewer)) continue
        assert.ok(
          !viewer.sees().includes(gone.peerId),
          `${this.#nameOf(viewer)} still shows ${this.#nameOf(gone)}, which ${why}`
        )
      }
      if (now >= end) return
    }
  }

  #expectGone(gone: FakePeer, why: string, withinMs: number): void {
    if (this.#isCut || this.#frozen.size > 0) return
    const atMs = this.village.clock.now() + withinMs
    for (const viewer of this.#peers) {
      // one that was stopped or cut off a moment ago has its own worries
      if (viewer.sees().includes(gone.peerId)) this.#due.push({ atMs, viewer, gone, why })
    }
  }

  async #becomesWhole(when: string): Promise<void> {
    const isWhole = (): boolean => this.#peers.every(peer => this.#difference(peer) === undefined)
    const end = this.village.clock.now() + WHOLE_WITHIN_MS
    await this.#pass(1_000)
    while (!isWhole() && this.village.clock.now() < end) await this.#pass(1_000)
    // and stays whole: nobody that is gone comes back, nobody that is there flickers
    await this.#pass(40_000)
    this.#note(`whole? ${when}`)
    const wrong = this.#peers.flatMap(peer => this.#difference(peer) ?? [])
    assert.deepEqual(wrong, [], when)
  }

  #difference(peer: FakePeer): string | undefined {
    const sees = peer.sees()
    const others = this.#peers
      .filter(other => other !== peer && other.group() !== undefined)
      .map(({ peerId }) => peerId)
    const ghosts = sees.filter(peerId => !others.includes(peerId)).map(peerId => this.#names.get(peerId))
    const missing = others.filter(peerId => !sees.includes(peerId)).map(peerId => this.#names.get(peerId))
    const twice = sees.length !== new Set(sees).size
    const unproven =
      peer
        .group()
        ?.members()
        .filter(member => !member.verified) ?? []
    const parts = [
      ...(ghosts.length > 0 ? [`shows ${ghosts.join(' ')} though gone`] : []),
      ...(missing.length > 0 ? [`misses ${missing.join(' ')}`] : []),
      ...(unproven.length > 0
        ? [`has not reached ${unproven.map(({ peerId }) => this.#names.get(peerId)).join(' ')}`]
        : []),
      ...(twice ? ['lists somebody twice'] : [])
    ]
    return parts.length === 0 ? undefined : `${this.#nameOf(peer)} ${parts.join(', ')}`
  }

  #checkEvents(): void {
    for (const peer of this.#peers) this.#checkEventsOf(peer)
  }

  /** `member` comes once, or twice when it was listed unverified first; `left` comes only after it. */
  #checkEventsOf(viewer: FakePeer): void {
    const shown = new Map<PeerId, boolean>()
    for (const { event, peerId, detail } of viewer.told()) {
      const who = `${this.#nameOf(viewer)} about ${this.#names.get(peerId)}`
      const before = shown.get(peerId)
      if (event === 'left') {
        assert.notEqual(before, undefined, `${who}: left without having come`)
        shown.delete(peerId)
      } else {
        assert.ok(before === undefined || (!before && detail === true), `${who}: came twice`)
        shown.set(peerId, detail === true)
      }
    }
    if (viewer.group() !== undefined)
      assert.deepEqual([...shown.keys()].sort(), viewer.sees(), `${this.#nameOf(viewer)}: events and list differ`)
  }

  #awake(): FakePeer[] {
    return this.#peers.filter(peer => !this.#frozen.has(peer))
  }

  #nameOf(peer: FakePeer): string {
    return this.#names.get(peer.peerId) ?? peer.peerId
  }

  #below(count: number): number {
    return Math.floor(this.#random() * count)
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T
  }
}

describe('a simulated network, through joins, leaves, kills, stops, cuts and restarts', () => {
  it(`shows exactly who is there, in ${COUNT} worlds from seed ${FIRST_SEED}`, {
    timeout: COUNT * 2_000 + 60_000
  }, async () => {
    const failures: string[] = []
    for (let seed = FIRST_SEED; seed < FIRST_SEED + COUNT; seed++) {
      const simulation = new Simulation(seed)
      await using _village = simulation.village
      try {
        await simulation.run()
      } catch (thrown) {
        const error = thrown as Error
        failures.push(
          `seed ${seed} (MUSTER_SEED=${seed} MUSTER_SIMULATIONS=1): ${error.message}\n  ${simulation.history.join('\n  ')}`
        )
        if (failures.length >= 3) break
      }
    }
    assert.equal(failures.length, 0, failures.join('\n'))
  })
})
