import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { checkRecords, type RecordEvent } from './record-kill-check.ts'
import { runRecordKills } from './record-kill-run.ts'

const CYCLES = 15

test(`after each of ${CYCLES} kills under overwrites no acknowledged record is lost, and none goes backwards`, {
  timeout: 600_000
}, async t => {
  const seed = Number(process.env.MUSTER_SEED ?? Date.now() % 1_000_000)
  t.diagnostic(`seed ${seed}`)
  const { lost, backwards, unreadable, kills, acknowledged, unknown, looks } = await runRecordKills({
    cycles: CYCLES,
    seed
  })
  t.diagnostic(`${acknowledged} acknowledged, ${unknown} unknown, ${looks} looks`)
  assert.deepEqual({ lost, backwards, unreadable }, { lost: [], backwards: [], unreadable: [] })
  assert.equal(kills, CYCLES)
  assert.ok(acknowledged > 0 && looks > 0, 'nothing was put to the test')
})

suite('the checker of record histories', () => {
  const key = 'ana/1'
  const write = (sequence: number, end: 'ok' | 'unknown'): RecordEvent[] => [
    { type: 'invoke', key, sequence },
    { type: end, key, sequence }
  ]
  const look = (sequence?: number): RecordEvent[] => [
    { type: 'read', id: 1, key },
    { type: 'seen', where: 'disk', id: 1, key, ...(sequence === undefined ? {} : { sequence }) }
  ]
  const faults = (...events: RecordEvent[][]): number[] => {
    const { lost, backwards, unreadable } = checkRecords(events.flat())
    return [lost.length, backwards.length, unreadable.length]
  }

  test('sees what was acknowledged and is lost, or older', () => {
    assert.deepEqual(faults(write(1, 'ok'), look(1)), [0, 0, 0])
    assert.deepEqual(faults(write(1, 'ok'), look()), [1, 0, 0])
    assert.deepEqual(faults(write(1, 'ok'), write(2, 'ok'), look(1)), [1, 0, 0])
  })

  test('counts what was not acknowledged apart from what is lost', () => {
    assert.deepEqual(faults(write(1, 'unknown'), look()), [0, 0, 0])
    assert.deepEqual(faults(write(1, 'unknown'), look(1)), [0, 0, 0])
    assert.equal(checkRecords(write(1, 'unknown')).unknown, 1)
  })

  test('sees that a key went backwards, though nothing newer was acknowledged', () => {
    assert.deepEqual(faults(write(1, 'ok'), write(2, 'unknown'), look(2), look(1)), [0, 1, 0])
  })

  test('asks no more of a read than what was there when it began', () => {
    const late: RecordEvent[] = [
      { type: 'read', id: 1, key },
      ...write(2, 'ok'),
      { type: 'seen', where: 'wire', id: 1, key, sequence: 1 }
    ]
    assert.deepEqual(faults(write(1, 'ok'), late), [0, 0, 0])
  })

  test('sees what nobody wrote', () => {
    assert.deepEqual(faults(write(1, 'ok'), look(7)), [0, 0, 1])
  })
})
