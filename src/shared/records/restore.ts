import type { PeerId } from '../core/address.ts'
import type { OwnRecords } from './own.ts'
import { compareRecords, peekRecord } from './record.ts'
import type { Shelf, Taken } from './shelf.ts'

export interface RestoreNeeds {
  readonly shelf: Shelf
  readonly own: OwnRecords
  /** Whose records are our own; undefined when nobody's are. */
  readonly self: PeerId | undefined
}

/** Takes an envelope from a dump: verified as if somebody had brought it; one of our own is said again from now on. */
export async function restore(envelope: Uint8Array, { shelf, own, self }: RestoreNeeds): Promise<Taken> {
  const taken = await shelf.take(envelope)
  if (taken.outcome !== 'stored') return taken
  const record = peekRecord(envelope) // the shelf has verified it
  const before = own.get(record.place)
  if (record.author === self && (before === undefined || compareRecords(record, before.record) > 0)) {
    await own.set({ record, renewMs: undefined, saidMs: 0, stored: 0 })
  }
  return taken
}
