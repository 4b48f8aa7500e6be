import type { Datastore } from 'interface-datastore'
import type { PeerId } from '../core/address.ts'
import { hexOf } from '../core/bytes.ts'
import { systemClock } from '../core/clock.ts'
import { isMusterError } from '../core/errors.ts'
import { build, type Closable } from '../core/lifecycle.ts'
import type { Log } from '../core/log.ts'
import { identityFrom, unseal } from '../node/keys.ts'
import { OwnRecords } from '../records/own.ts'
import { peekRecord } from '../records/record.ts'
import type { Records } from '../records/records.ts'
import { restore } from '../records/restore.ts'
import { salvage } from '../records/salvage.ts'
import { envelopeOf, Shelf } from '../records/shelf.ts'
import type { Store } from '../store/port.ts'

/** The records of a data folder whose node does not run. */
export interface OfflineArchive extends Closable, Pick<Records, 'dump' | 'restore' | 'republish'> {
  readonly path: string
}

const OWN = '/muster/record/own'
const HELD = '/muster/record/held'

/**
 * Reads and writes the records of a data folder without a node, and without the network. Owns the store.
 * @throws MusterError as `openTable`.
 */
export function openArchive(store: Store & { readonly path: string }, log: Log): Promise<OfflineArchive> {
  return build(async scope => {
    scope.own(store)
    const table = await store.openTable('records')
    const { datastore } = table
    await salvage(table, unseal, systemClock.now(), log) // what the node would take over when it starts
    const self = await ownPeerId(store.path)
    const own = new OwnRecords(datastore, log)
    const shelf = new Shelf({ datastore, unseal, clock: systemClock, log })
    await own.recall()
    await shelf.recall()
    return {
      path: store.path,
      signal: scope.signal,
      async *dump() {
        const rows = new Set<string>()
        for (const prefix of [OWN, HELD]) {
          for await (const envelope of envelopes(datastore, prefix, log)) {
            const row = hexOf(peekRecord(envelope).place)
            if (!rows.has(row)) yield { envelope, own: prefix === OWN }
            rows.add(row)
          }
        }
      },
      restore: envelope => restore(envelope, { shelf, own, self }),
      async republish() {}, // the node does that when it runs
      close: () => scope.close(),
      [Symbol.asyncDispose]: () => scope.close()
    }
  })
}

async function* envelopes(datastore: Datastore, prefix: string, log: Log): AsyncGenerator<Uint8Array> {
  for await (const { key, value } of datastore.query({ prefix })) {
    try {
      const envelope = envelopeOf(value)
      peekRecord(envelope)
      yield envelope
    } catch (err) {
      log.error({ err, key: key.toString() }, 'a record on disk is not readable and is left out')
    }
  }
}

/** Undefined where no node has run yet. */
async function ownPeerId(path: string): Promise<PeerId | undefined> {
  const { loadIdentity } = await import('../store/identity.server.ts')
  const nobody = new Error('no identity yet')
  const generate = (): Promise<Uint8Array> => Promise.reject(nobody)
  try {
    return identityFrom(await loadIdentity(path, { generate, check: identityFrom })).peerId
  } catch (thrown) {
    if (thrown === nobody || isMusterError(thrown, 'identity-corrupt')) return undefined
    throw thrown
  }
}
