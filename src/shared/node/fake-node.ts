import type { DialAddress, PeerAddress, PeerId } from '../core/address.ts'
import { asError, asMusterError, MusterError } from '../core/errors.ts'
import { Emitter } from '../core/events.ts'
import { Scope, type Undo } from '../core/lifecycle.ts'
import { FakeChannel } from './fake-channel.ts'
import type { FakeEnd } from './fake-connection.ts'
import { FakeDht, type FakeDhtInit } from './fake-dht.ts'
import { FakeGossip } from './fake-gossip.ts'
import { type Patience, wait } from './fake-wait.ts'
import type { Identity } from './keys.ts'
import type {
  Channel,
  ConnectionInfo,
  ConnectOptions,
  HandleOptions,
  Node,
  NodeEvents,
  OpenOptions,
  WaitOptions
} from './port.ts'

interface Handler {
  readonly options: HandleOptions
  readonly serve: (channel: Channel) => void | Promise<void>
}

/** Who may answer a dial. */
export interface DialRules {
  readonly wanted: PeerId | undefined
  readonly check: ConnectOptions['check'] | undefined
}

export interface FakeNodeInit {
  readonly identity: Identity
  readonly network: string
  /** Where it listens; undefined when nobody can dial it. */
  readonly address: string | undefined
  readonly dht: Omit<FakeDhtInit, 'node'>
  /** Opens a connection to the first of `addresses` that answers as the wanted peer. */
  dial(node: FakeNode, addresses: readonly string[], patience: Patience, rules: DialRules): Promise<PeerId>
  /** Frees the address. */
  gone(node: FakeNode): void
}

/** A node of a `FakeNetwork`: the Node port without sockets. */
export class FakeNode implements Node {
  readonly peerId: PeerId
  readonly network: string
  readonly signal: AbortSignal
  readonly dht: FakeDht
  readonly gossip: FakeGossip
  readonly addresses: readonly string[]
  /** Its process was killed: it sends nothing more. */
  isDead = false
  /** Its process was stopped: it takes nothing and sends nothing. */
  isFrozen = false

  readonly #init: FakeNodeInit
  readonly #scope = new Scope()
  readonly #events = new Emitter<NodeEvents>()
  readonly #ends = new Map<PeerId, Set<FakeEnd>>()
  readonly #handlers = new Map<string, Handler>()

  constructor(init: FakeNodeInit) {
    this.#init = init
    this.peerId = init.identity.peerId
    this.network = init.network
    this.addresses = init.address === undefined ? [] : [init.address]
    this.signal = this.#scope.signal
    this.dht = new FakeDht({ ...init.dht, node: this })
    this.gossip = new FakeGossip({ node: this, identity: init.identity, clock: init.dht.clock })
    this.#scope.defer(() => init.gone(this))
    this.#scope.defer(() => this.#closeConnections())
    this.#scope.defer(() => this.dht.stop())
  }

  on<K extends keyof NodeEvents>(event: K, listener: (detail: NodeEvents[K]) => void): Undo {
    return this.#events.on(event, listener)
  }

  connections(): readonly ConnectionInfo[] {
    return this.ends().map(({ peerId, inbound, address }) => ({ peerId, inbound, address }))
  }

  isConnected(peerId: PeerId): boolean {
    return this.#ends.has(peerId)
  }

  async connect(target: PeerAddress | DialAddress, options: ConnectOptions = {}): Promise<PeerId> {
    this.signal.throwIfAborted()
    const wanted = target.peerId
    const addresses = 'addresses' in target ? target.addresses : [target.address]
    const check = 'addresses' in target ? undefined : options.check
    const open = this.ends().find(end =>
      wanted === undefined ? !end.inbound && addresses.includes(end.address) : end.peerId === wanted
    )
    if (options.signal?.aborted) throw asMusterError(options.signal.reason, 'aborted')
    if (open !== undefined) {
      if (wanted === undefined) check?.(open.peerId)
      return open.peerId
    }
    const patience = this.#patience(`connecting to ${addresses.join(', ')}`, options)
    return this.#init.dial(this, addresses, patience, { wanted, check })
  }

  async disconnect(peerId: PeerId): Promise<void> {
    for (const end of [...(this.#ends.get(peerId) ?? [])]) end.close()
  }

  async ping(peerId: PeerId, options: WaitOptions = {}): Promise<number> {
    this.signal.throwIfAborted()
    const end = this.#endTo(peerId)
    const { clock } = this.#init.dht
    const startMs = clock.now()
    return wait(this.#patience(`ping to ${peerId}`, options), settle => {
      end.carry(() => end.other.carry(() => settle.resolve(clock.now() - startMs)))
    })
  }

  async open(peerId: PeerId, protocol: string, options: OpenOptions): Promise<Channel> {
    this.signal.throwIfAborted()
    const end = this.#endTo(peerId)
    const first = options.first ?? []
    if (first.some(frame => frame.length > options.maxFrameBytes)) {
      throw new MusterError('too-large', `a first frame over the limit of ${options.maxFrameBytes} bytes`)
    }
    const name = protocolName(this.network, protocol)
    const near = this.#channel(end, name, options.maxFrameBytes)
    const frames = first.map(frame => frame.slice())
    try {
      await wait<void>(this.#patience(`opening ${protocol} to ${peerId}`, options), settle => {
        const onGone = (): void => settle.reject(near.signal.reason)
        near.signal.addEventListener('abort', onGone)
        end.carry(() => end.other.node.accept(end.other, near, name, frames, settle))
        return () => near.signal.removeEventListener('abort', onGone)
      })
      return near
    } catch (thrown) {
      near.abort(asError(thrown))
      throw thrown
    }
  }

  handle(protocol: string, options: HandleOptions, serve: (channel: Channel) => void | Promise<void>): Undo {
    const name = protocolName(this.network, protocol)
    if (this.#handlers.has(name)) throw new MusterError('options-invalid', `${protocol} is handled already`)
    const handler = { options, serve }
    this.#handlers.set(name, handler)
    return () => {
      if (this.#handlers.get(name) === handler) this.#handlers.delete(name)
    }
  }

  seal(domain: string, payload: Uint8Array, maxBytes?: number): Promise<Uint8Array> {
    return this.#init.identity.seal(domain, payload, maxBytes)
  }

  close(): Promise<void> {
    return this.#scope.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  ends(): FakeEnd[] {
    return [...this.#ends.values()].flatMap(ends => [...ends])
  }

  /** A connection was made. */
  gained(end: FakeEnd): void {
    const ends = this.#ends.get(end.peerId) ?? new Set()
    this.#ends.set(end.peerId, ends)
    ends.add(end)
    this.dht.meet(end.other.node)
    if (ends.size > 1) return
    const { peerId, inbound, address } = end
    this.#events.emit('connect', { peerId, inbound, address })
  }

  /** A connection is gone. */
  lost(end: FakeEnd): void {
    const ends = this.#ends.get(end.peerId)
    if (ends?.delete(end) !== true || ends.size > 0) return
    this.#ends.delete(end.peerId)
    if (!this.isDead) this.#events.emit('disconnect', { peerId: end.peerId })
  }

  /** The process died: no goodbye, nothing leaves any more; what runs on its signal stops. */
  async die(): Promise<void> {
    this.isDead = true
    for (const end of this.ends()) {
      end.connection.reportDeath(end)
      end.drop()
    }
    await this.close()
  }

  /** The other side asks for a channel. */
  accept(
    end: FakeEnd,
    far: FakeChannel,
    name: string,
    first: readonly Uint8Array[],
    answer: { resolve(): void; reject(error: Error): void }
  ): void {
    const handler = this.#handlers.get(name)
    const refuse = (error: MusterError): void => end.carry(() => answer.reject(error))
    if (handler === undefined) {
      refuse(new MusterError('network-mismatch', `the peer does not speak ${name}`))
      return
    }
    const { maxFrameBytes, maxInboundPerConnection } = handler.options
    const open = [...end.channels].filter(channel => channel.inbound && channel.protocol === name)
    if (open.length >= maxInboundPerConnection) {
      refuse(new MusterError('closed', 'the other side reset the channel'))
      return
    }
    const near = this.#channel(end, name, maxFrameBytes, true)
    near.other = far
    far.other = near
    end.carry(answer.resolve)
    for (const frame of first) near.receive(frame)
    void run(handler, near)
  }

  #channel(end: FakeEnd, protocol: string, maxFrameBytes: number, inbound = false): FakeChannel {
    const channel = new FakeChannel({
      peerId: end.peerId,
      inbound,
      protocol,
      maxFrameBytes,
      carry: arrive => end.carry(arrive),
      onOver: over => end.channels.delete(over)
    })
    end.channels.add(channel)
    return channel
  }

  #endTo(peerId: PeerId): FakeEnd {
    const [end] = this.#ends.get(peerId) ?? []
    if (end === undefined) throw new MusterError('unreachable', `not connected to ${peerId}`)
    return end
  }

  #patience(what: string, { signal }: WaitOptions): Patience {
    return { clock: this.#init.dht.clock, what, signals: [this.signal, signal] }
  }

  #closeConnections(): void {
    this.#handlers.clear()
    for (const end of this.ends()) end.close()
  }
}

async function run(handler: Handler, channel: FakeChannel): Promise<void> {
  try {
    await handler.serve(channel)
  } catch (thrown) {
    channel.abort(asError(thrown))
  }
}

function protocolName(network: string, protocol: string): string {
  return `/muster/${network}/${protocol}`
}
