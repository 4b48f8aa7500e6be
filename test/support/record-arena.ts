import type { Scope } from '../../src/shared/core/lifecycle.ts'
import { createIdentity, type Identity, unseal } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import type { Unseal } from '../../src/shared/node/port.ts'
import type { BookLimits } from '../../src/shared/records/book.ts'
import { placeOf, type RecordKey } from '../../src/shared/records/key.ts'
import { peekRecord } from '../../src/shared/records/record.ts'
import { openRecords, type Records } from '../../src/shared/records/records.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { eventually } from './eventually.ts'
import { ourNode, placeOf as whereIs } from './plain.ts'
import { RecordCaller } from './record-caller.ts'
import { read } from './record-world.ts'

/** What escaped into the process until the scope closes. */
export function escaped(scope: Scope): unknown[] {
  const uncaught: unknown[] = []
  const note = (thrown: unknown): void => void uncaught.push(thrown)
  process.on('uncaughtException', note).on('unhandledRejection', note)
  scope.defer(() => process.off('uncaughtException', note).off('unhandledRejection', note))
  return uncaught
}

/** A real node with records, on loopback. */
export interface RealHolder {
  readonly node: Libp2pNode
  readonly records: Records
}

export async function realHolder(
  scope: Scope,
  options: { readonly limits?: Partial<BookLimits>; readonly unseal?: Unseal } = {}
): Promise<RealHolder> {
  const node = await ourNode(scope, { mayBeAlone: true })
  const table = await memoryStore().openTable('records')
  const records = scope.own(await openRecords({ node, table, unseal: options.unseal ?? unseal }, options.limits))
  return { node, records }
}

/** Connects each with all. */
export async function acquaint(...nodes: readonly Libp2pNode[]): Promise<void> {
  for (const [at, node] of nodes.entries()) {
    for (const other of nodes.slice(0, at)) await node.connect(whereIs(other))
  }
  await eventually('all know all', () => nodes.every(node => node.dht.size >= nodes.length - 1))
}

/** A holder that is attacked, an honest reader, and an attacker who speaks the protocol by hand. */
export interface RecordArena {
  readonly author: Identity
  readonly holder: RealHolder
  readonly reader: RealHolder
  readonly attacker: Libp2pNode
  readonly mallory: Identity
  /** A stream of the attacker to the holder. */
  readonly line: RecordCaller
  /** What the holder gives: a value, `deleted`, or nothing. */
  holds(key: RecordKey): Promise<unknown>
}

export async function recordArena(scope: Scope, limits: Partial<BookLimits> = {}): Promise<RecordArena> {
  const mallory = await createIdentity()
  const [author, holder, reader, attacker] = await Promise.all([
    createIdentity(),
    realHolder(scope, { limits }),
    realHolder(scope),
    ourNode(scope, { identity: mallory, mayBeAlone: true })
  ])
  await acquaint(holder.node, reader.node, attacker)
  const line = await RecordCaller.dial(attacker, holder.node.peerId)
  return {
    author,
    holder,
    reader,
    attacker,
    mallory,
    line,
    async holds(key) {
      const { envelope } = await line.find(placeOf(key))
      if (envelope === undefined) return undefined
      const record = peekRecord(envelope)
      return record.value === undefined ? 'deleted' : read({ record })
    }
  }
}
