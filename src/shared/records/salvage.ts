import { asError } from '../core/errors.ts'
import type { Log } from '../core/log.ts'
import type { Unseal } from '../node/port.ts'
import type { Table } from '../store/port.ts'
import { openRecord } from './record.ts'
import { envelopeOf } from './shelf.ts'

/** Takes over, from a table that was damaged, the rows that are readable and whose signature holds; says what was lost. */
export async function salvage({ damage, datastore }: Table, unseal: Unseal, now: number, log: Log): Promise<void> {
  if (damage === undefined) return
  let [saved, lost] = [0, 0]
  let err: Error | undefined
  try {
    for await (const { key, value } of damage.rows()) {
      try {
        await openRecord(envelopeOf(value), unseal, now)
        await datastore.put(key, value)
        saved++
      } catch {
        lost++ // it is counted, and said
      }
    }
  } catch (thrown) {
    err = asError(thrown) // nothing more is readable: the node goes on, and the damaged files stay where they are
  }
  const { what, movedTo } = damage
  log.error(
    { saved, lost, what, movedTo, ...(err === undefined ? {} : { err }) },
    'records: damaged rows were left out, and what cannot be counted is lost; others bring back what they hold'
  )
}
