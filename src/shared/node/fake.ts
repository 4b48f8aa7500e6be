import type { PeerId } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asError, MusterError } from '../core/errors.ts'
import { type Random, seededRandom } from '../core/random.ts'
import type { Store } from '../store/port.ts'
import { FakeConnection, type Wire } from './fake-connection.ts'
import { ProviderRows } from './fake-dht.ts'
import { type DialRules, FakeNode } from './fake-node.ts'
import { type Patience, wait } from './fake-wait.ts'
import { createIdentity, type Identity } from './keys.ts'
import type { Node } from './port.ts'

/** How long a node takes to notice that the other side of a connection no longer answers. */
export const FAKE_SILENCE_MS = 15_000

export interface FakeNetworkOptions {
  /** Deadlines, latency and expiry run on it. */
  readonly clock?: Clock
  /** Identities are drawn from it: the same seed gives the same peer ids. */
  readonly random?: Random
  /** One way, in milliseconds of `clock`. 0 delivers in the next turn of the event loop. */
  readonly latencyMs?: number
}

export interface FakeNodeOptions {
  readonly identity?: Identity
  readonly network?: string
  /** False for a node nobody can dial, which serves no rows either. */
  readonly listen?: boolean
  /** A multiaddr of its own, so that a node can come back to where it was. */
  readonly address?: string
  /** Provider rows outlive the node with it. */
  readonly store?: Store
  /** Its DHT is ready when it knows nobody, as that of the first bootstrap must be. */
  readonly answersAlone?: boolean
}

/**
 * A network in memory: nodes that implement the Node port, and the faults of the real world on request.
 * Delivery is asynchronous, in order, and the same again for the same seed and clock.
 */
export class FakeNetwork implements Wire {
  readonly #clock: Clock
  readonly #random: Random
  readonly #latencyMs: number
  readonly #listeners = new Map<string, FakeNode>()
  readonly #connections = new Set<FakeConnection>()
  readonly #storedRows = new WeakMap<Store, ProviderRows>()
  readonly #cuts = new Map<FakeNode, Set<FakeNode>>()
  readonly #partitions: Array<ReadonlyMap<FakeNode, number>> = []
  readonly #ips = new WeakMap<FakeNode, string>()
  #inFlight: Array<{ readonly atMs: number; readonly run: () => void }> = []
  #isTicking = false
  #nodes = 0

  constructor({ clock = systemClock, random = seededRandom(1), latencyMs = 0 }: FakeNetworkOptions = {}) {
    this.#clock = clock
    this.#random = random
    this.#latencyMs = latencyMs
  }

  /** @throws MusterError `port-in-use` when a live node has the address. */
  async createNode(options: FakeNodeOptions = {}): Promise<Node> {
    const { network = 'muster', listen = true, store, answersAlone = false } = options
    const number = ++this.#nodes
    const ip = `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`
    const address = listen ? (options.address ?? `/ip4/${ip}/tcp/4001`) : undefined
    if (address !== undefined && this.#listeners.has(address))
      throw new MusterError('port-in-use', `${address} is taken`)
    const identity = options.identity ?? (await createIdentity(this.#seed()))
    const node: FakeNode = new FakeNode({
      identity,
      network,
      address,
      dht: {
        clock: this.#clock,
        rows: this.#rowsOf(store),
        isServer: listen,
        answersAlone,
        roundTrips: (count, run) => this.#roundTrips(count, run),
        canReach: other => !other.signal.aborted && !other.isDead && !this.isBlocked(node, other)
      },
      dial: (from, addresses, patience, rules) => this.#dial(from, addresses, patience, rules),
      gone: () => {
        if (address !== undefined) this.#listeners.delete(address)
      }
    })
    this.#ips.set(node, ip)
    if (address !== undefined) this.#listeners.set(address, node)
    return node
  }

  /** As `kill -9`: connections drop without a goodbye, the address is dead, and the node's own signal aborts. */
  async kill(node: Node): Promise<void> {
    await fake(node).die()
  }

  /** As SIGSTOP: the node takes nothing and answers nothing until `thaw`; others notice after {@link FAKE_SILENCE_MS}. */
  freeze(node: Node): void {
    fake(node).isFrozen = true
    this.#review()
  }

  thaw(node: Node): void {
    fake(node).isFrozen = false
    this.#review()
  }

  /** Nothing passes between two nodes any more. Neither is told. */
  cut(a: Node, b: Node): void {
    for (const [from, to] of [[fake(a), fake(b)] as const, [fake(b), fake(a)] as const]) {
      const cuts = this.#cuts.get(from) ?? new Set()
      this.#cuts.set(from, cuts)
      cuts.add(to)
    }
    this.#review()
  }

  /** Nothing passes between the groups; nodes in none of them reach all. */
  partition(...groups: ReadonlyArray<readonly Node[]>): void {
    this.#partitions.push(new Map(groups.flatMap((group, side) => group.map(node => [fake(node), side] as const))))
    this.#review()
  }

  /** Undoes every cut and partition. What waited on the way arrives. */
  heal(): void {
    this.#cuts.clear()
    this.#partitions.length = 0
    this.#review()
  }

  /** Resolves once nothing is on its way that time would not have to pass for. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 3; quiet++) {
      await new Promise<void>(resolve => nextTurn(resolve))
      const [next] = this.#inFlight
      if (next !== undefined && next.atMs <= this.#clock.now()) quiet = -1
    }
  }

  /** Moves a manual clock on in small steps, letting everybody react after each. */
  async advance(
    clock: { advance(ms: number): void },
    ms: number,
    stepMs = Math.max(this.#latencyMs, 50)
  ): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.settle()
      clock.advance(Math.min(stepMs, ms - passed))
    }
    await this.settle()
  }

  schedule(run: () => void): void {
    this.#inFlight.push({ atMs: this.#clock.now() + this.#latencyMs, run })
    this.#tick()
  }

  isBlocked(a: FakeNode, b: FakeNode): boolean {
    if (a.isFrozen || b.isFrozen || this.#cuts.get(a)?.has(b) === true) return true
    return this.#partitions.some(sides => {
      const [here, there] = [sides.get(a), sides.get(b)]
      return here !== undefined && there !== undefined && here !== there
    })
  }

  afterSilence(run: () => void): () => void {
    return this.#clock.after(FAKE_SILENCE_MS, run)
  }

  forget(connection: FakeConnection): void {
    this.#connections.delete(connection)
  }

  #review(): void {
    for (const connection of [...this.#connections]) connection.review()
  }

  /** Latency is the same for all, so that what was sent first arrives first and one timer is enough. */
  #tick(): void {
    const [next] = this.#inFlight
    if (this.#isTicking || next === undefined) return
    this.#isTicking = true
    const waitMs = next.atMs - this.#clock.now()
    const arrive = (): void => {
      this.#isTicking = false
      const now = this.#clock.now()
      const later = this.#inFlight.findIndex(({ atMs }) => atMs > now)
      for (const { run } of this.#inFlight.splice(0, later === -1 ? this.#inFlight.length : later)) run()
      this.#tick()
    }
    if (waitMs <= 0) nextTurn(arrive)
    else this.#clock.after(waitMs, arrive)
  }

  #roundTrips(count: number, run: () => void): void {
    if (count === 0) run()
    else this.schedule(() => this.schedule(() => this.#roundTrips(count - 1, run)))
  }

  #dial(
    from: FakeNode,
    addresses: readonly string[],
    patience: Patience,
    { wanted, check }: DialRules
  ): Promise<PeerId> {
    return wait(patience, settle => {
      let isWon = false
      let left = addresses.length
      const fail = (): void => {
        left -= 1
        if (left <= 0) settle.reject(new MusterError('unreachable', `${patience.what}: nobody there, or somebody else`))
      }
      const attempt = (address: string) => ({
        fail,
        succeed: (to: FakeNode) => {
          if (isWon) return
          isWon = true
          try {
            check?.(to.peerId)
          } catch (thrown) {
            return settle.reject(asError(thrown))
          }
          this.#establish(from, to, address)
          settle.resolve(to.peerId)
        }
      })
      if (addresses.length === 0 || wanted === from.peerId) fail()
      else for (const address of addresses) this.schedule(() => this.#syn(from, address, wanted, attempt(address)))
      return () => {
        isWon = true
      }
    })
  }

  /** One dial, once its first packet has arrived. On a blocked way it waits for ever, as a lost packet does. */
  #syn(
    from: FakeNode,
    address: string,
    wanted: PeerId | undefined,
    attempt: { fail(): void; succeed(to: FakeNode): void }
  ): void {
    const to = this.#listeners.get(address)
    if (to !== undefined && this.isBlocked(from, to)) return
    this.schedule(() => {
      if (to === undefined || to === from || to.signal.aborted || from.signal.aborted) attempt.fail()
      else if (wanted !== undefined && to.peerId !== wanted) attempt.fail()
      else if (!this.isBlocked(from, to)) attempt.succeed(to)
    })
  }

  #establish(from: FakeNode, to: FakeNode, address: string): void {
    if (from.ends().some(end => end.peerId === to.peerId && !end.inbound)) return // dialled twice at once
    const observed = `/ip4/${this.#ips.get(from)}/tcp/${32_768 + (this.#connections.size % 28_000)}`
    const connection = new FakeConnection(this, from, to, { dialled: address, observed })
    this.#connections.add(connection)
    to.gained(connection.listener)
    from.gained(connection.dialler)
  }

  #seed(): Uint8Array {
    return Uint8Array.from({ length: 32 }, () => Math.floor(this.#random() * 256))
  }

  #rowsOf(store: Store | undefined): ProviderRows {
    if (store === undefined) return new ProviderRows()
    const rows = this.#storedRows.get(store) ?? new ProviderRows()
    this.#storedRows.set(store, rows)
    return rows
  }
}

function fake(node: Node): FakeNode {
  if (node instanceof FakeNode) return node
  throw new MusterError('options-invalid', 'not a node of the fake network')
}

const nextTurn: (run: () => void) => unknown =
  typeof setImmediate === 'function' ? run => setImmediate(run) : run => setTimeout(run, 0)
