import type { Pair } from 'interface-datastore'
import { asError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Unseal } from '../node/port.ts'
import type { Table } from '../store/port.ts'
import { Batches } from './batches.ts'
import { openRecord } from './record.ts'
import { envelopeOf } from './shelf.ts'

/**
 * Takes over, from a table that was damaged, the rows that are readable and whose signature holds; says what was lost.
 * What is cut off in the middle, by `signal` or a kill, is done from the start the next time.
 */
export async function salvage(
  { damage, datastore }: Table,
  unseal: Unseal,
  now: number,
  log: Log,
  signal?: AbortSignal
): Promise<void> {
  if (damage === undefined) return
  let [saved, lost] = [0, 0]
  let err: Error | undefined
  // nothing more is readable: the node goes on, and the damaged files stay where they are
  const rows = readable(damage.rows(), thrown => {
    err = thrown
  })
  const batches = new Batches(datastore)
  for await (const { key, value } of rows) {
    signal?.throwIfAborted()
    if (await isSound(value, unseal, now)) {
      await batches.put(key, value)
      saved++
    } else lost++ // it is counted, and said
  }
  await batches.commit()
  await damage.done()
  const { what, movedTo } = damage
  log.error(
    { saved, lost, what, movedTo, ...(err === undefined ? {} : { err }) },
    'records: damaged rows were left out, and what cannot be counted is lost; others bring back what they hold'
  )
}

async function* readable(rows: AsyncIterable<Pair>, onEnd: (err: Error) => void): AsyncGenerator<Pair> {
  try {
    yield* rows
  } catch (thrown) {
    onEnd(asError(thrown))
  }
}

async function isSound(row: Uint8Array, unseal: Unseal, now: number): Promise<boolean> {
  try {
    await openRecord(envelopeOf(row), unseal, now)
    return true
  } catch {
    return false
  }
}
