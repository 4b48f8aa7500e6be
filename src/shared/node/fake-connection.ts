import type { PeerId } from '../core/address.ts'
import { MusterError } from '../core/errors.ts'
import type { FakeChannel } from './fake-channel.ts'
import type { FakeNode } from './fake-node.ts'
import type { ConnectionInfo } from './port.ts'

/** What one side sees of a connection. */
export class FakeEnd implements ConnectionInfo {
  readonly node: FakeNode
  readonly peerId: PeerId
  readonly inbound: boolean
  readonly address: string
  readonly connection: FakeConnection
  readonly channels = new Set<FakeChannel>()
  isOpen = true

  constructor(node: FakeNode, connection: FakeConnection, info: ConnectionInfo) {
    this.node = node
    this.connection = connection
    this.peerId = info.peerId
    this.inbound = info.inbound
    this.address = info.address
  }

  get other(): FakeEnd {
    const { dialler, listener } = this.connection
    return this === dialler ? listener : dialler
  }

  /** Takes `arrive` to the other side, behind all that was sent before; lost when the other side has dropped its end. */
  carry(arrive: () => void): void {
    this.connection.carry(this, arrive)
  }

  /** Says goodbye: channels end in order, then the other side learns that the connection is gone. */
  close(): void {
    for (const channel of [...this.channels]) void channel.close()
    this.carry(() => this.other.drop())
    this.drop()
  }

  /** This side gives the connection up, without a word to the other. */
  drop(reason: MusterError = new MusterError('closed', 'the connection is gone')): void {
    if (!this.isOpen) return
    this.isOpen = false
    for (const channel of [...this.channels]) channel.fail(reason)
    this.channels.clear()
    this.node.lost(this)
    this.connection.afterDrop()
  }
}

interface Parcel {
  readonly from: FakeEnd
  readonly arrive: () => void
  /** Sent by the system of a process that is dead. */
  readonly isPosthumous: boolean
  hasArrived: boolean
}

/** What a connection needs from the network it runs through. */
export interface Wire {
  schedule(run: () => void): void
  isBlocked(a: FakeNode, b: FakeNode): boolean
  /** Calls `run` when a side would have noticed that the other no longer answers. */
  afterSilence(run: () => void): () => void
  forget(connection: FakeConnection): void
}

/** A connection between two nodes. While the way is blocked its traffic waits, as TCP's would, and then goes on. */
export class FakeConnection {
  readonly dialler: FakeEnd
  readonly listener: FakeEnd
  readonly #wire: Wire
  readonly #parcels: Parcel[] = []
  #isBlocked = false
  #stopWatching: () => void = () => undefined

  constructor(wire: Wire, dialler: FakeNode, listener: FakeNode, addresses: { dialled: string; observed: string }) {
    this.#wire = wire
    this.dialler = new FakeEnd(dialler, this, { peerId: listener.peerId, inbound: false, address: addresses.dialled })
    this.listener = new FakeEnd(listener, this, { peerId: dialler.peerId, inbound: true, address: addresses.observed })
  }

  carry(from: FakeEnd, arrive: () => void): void {
    if (!from.node.isDead) this.#post(from, arrive)
  }

  /** The operating system of a process that died tells the other side. */
  reportDeath(dead: FakeEnd): void {
    this.#post(dead, () => dead.other.drop(), true)
  }

  /** Looks whether the way is open; called whenever a fault comes or goes. */
  review(): void {
    const isBlocked = this.#wire.isBlocked(this.dialler.node, this.listener.node)
    if (isBlocked === this.#isBlocked) return
    this.#isBlocked = isBlocked
    this.#stopWatching()
    if (isBlocked) {
      this.#stopWatching = this.#wire.afterSilence(() => {
        for (const end of [this.dialler, this.listener]) {
          if (!end.node.isFrozen) end.drop(new MusterError('closed', 'the other side stopped answering'))
        }
      })
      return
    }
    this.#wire.schedule(() => this.#flush())
    for (const end of [this.dialler, this.listener]) {
      // this side gave up while the way was blocked: its reset goes out now
      if (!end.isOpen) this.#post(end, () => end.other.drop(), true)
    }
  }

  afterDrop(): void {
    if (this.dialler.isOpen || this.listener.isOpen) return
    this.#stopWatching()
    this.#parcels.length = 0
    this.#wire.forget(this)
  }

  #post(from: FakeEnd, arrive: () => void, isPosthumous = false): void {
    const parcel = { from, arrive, isPosthumous, hasArrived: false }
    this.#parcels.push(parcel)
    this.#wire.schedule(() => {
      parcel.hasArrived = true
      this.#flush()
    })
  }

  /** Hands over what has arrived, in the order of sending, as long as the way is open. */
  #flush(): void {
    while (!this.#isBlocked && this.#parcels[0]?.hasArrived === true) {
      const parcel = this.#parcels.shift() as Parcel
      if (parcel.from.node.isDead && !parcel.isPosthumous) continue
      if (parcel.from.other.isOpen) parcel.arrive()
    }
  }
}
