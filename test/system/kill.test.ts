import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { startBootstrap, TemporaryFolder } from '../support/process.ts'
import { checkHistory } from './kill-check.ts'
import type { Deed, HistoryEvent } from './kill-history.ts'
import { printVerdict } from './kill-print.ts'
import { runKills } from './kill-run.ts'

const CYCLES = 20
const BIRTHS = 6

test(`after each of ${CYCLES} kills at random moments what was acknowledged is there`, {
  timeout: 600_000
}, async t => {
  const seed = Number(process.env.MUSTER_TEST_SEED ?? Date.now() % 1_000_000)
  const historyFile = join(tmpdir(), `muster-kill-${process.pid}.jsonl`)
  t.diagnostic(`seed ${seed}`)
  const run = await runKills({ cycles: CYCLES, seed, historyFile })
  t.diagnostic(printVerdict(run))
  const { faults, found, kills, looks } = run.verdict
  assert.deepEqual(faults, [], `MUSTER_TEST_SEED=${seed}, history in ${historyFile}`)
  assert.equal(
    Object.values(kills).reduce((sum, each) => sum + each),
    CYCLES + 1
  )
  assert.equal(looks.disk, CYCLES + 1)
  assert.ok(found.members > 0 && found.providers > 0 && found.goodbyes > 0, 'nothing was put to the test')
  await rm(historyFile)
})

test('a bootstrap killed while it is born starts afterwards, as whom it said it was', {
  timeout: 300_000
}, async () => {
  await using folder = await TemporaryFolder.create()
  for (let birth = 0; birth < BIRTHS; birth++) {
    const args = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', folder.at(`birth-${birth}`)]
    await using first = startBootstrap(args)
    // from the first line of code to some way behind the last
    await new Promise(resolve => setTimeout(resolve, 250 + Math.random() * 900))
    await first.stop('SIGKILL')
    const told = first.events.find(({ event }) => event === 'listening')?.peerId
    await using second = startBootstrap(args)
    const { peerId } = await second.event('listening')
    if (told !== undefined) assert.equal(peerId, told)
    await eventually('it stops cleanly', async () => assert.deepEqual(await second.stop(), { code: 0, signal: null }))
  }
})

suite('the checker of histories', () => {
  const [peerId, topic] = ['ana', 'lobby']
  let id = 0
  const base = { at: 1_000, life: 1 }
  const deed = (what: Deed, sequence: number, end: 'ok' | 'info' | 'fail', expiresMs = 9_000): HistoryEvent[] => {
    id++
    return [
      { ...base, type: 'invoke', id, deed: what, peerId, topic, sequence, expiresMs },
      { ...base, type: end, id, reason: 'no answer' }
    ]
  }
  const look = (sequences: readonly number[], providers: readonly string[], left = false): HistoryEvent => ({
    ...base,
    type: 'seen',
    where: 'disk',
    peerId: 'bootstrap',
    members: sequences.map(sequence => ({ topic, peerId, sequence, left })),
    providers: providers.map(each => ({ topic, peerId: each }))
  })
  const faultsOf = (...events: ReadonlyArray<HistoryEvent | HistoryEvent[]>): number =>
    checkHistory(events.flat()).faults.length

  test('sees an acknowledged record that is lost', () => {
    assert.equal(faultsOf(deed('enter', 1, 'ok'), look([], [])), 1)
    assert.equal(faultsOf(deed('enter', 1, 'ok'), look([1], [])), 0)
    assert.equal(faultsOf(deed('provide', 0, 'ok'), look([], [])), 1)
    assert.equal(faultsOf(deed('provide', 0, 'ok'), look([], [peerId])), 0)
  })

  test('sees an older record in the place of an acknowledged one', () => {
    assert.equal(faultsOf(deed('enter', 1, 'ok'), deed('enter', 2, 'ok'), look([1], [])), 1)
    assert.equal(faultsOf(deed('enter', 1, 'ok'), deed('enter', 2, 'info'), look([1], [])), 0)
    assert.equal(faultsOf(deed('enter', 1, 'ok'), deed('enter', 2, 'info'), look([2], [])), 0)
  })

  test('sees a goodbye undone, by a member record or by a provider record', () => {
    const left = [...deed('enter', 1, 'ok'), ...deed('provide', 0, 'ok'), ...deed('leave', 2, 'ok')]
    assert.equal(faultsOf(left, look([2], [], true)), 0)
    assert.equal(faultsOf(left, look([1], [])), 1)
    assert.equal(faultsOf(left, look([2], [peerId], true)), 1)
  })

  test('asks for nothing that was not acknowledged, has expired or may have left', () => {
    assert.equal(faultsOf(deed('enter', 1, 'info'), deed('provide', 0, 'info'), look([], [])), 0)
    assert.equal(faultsOf(deed('enter', 1, 'ok', 500), look([], [])), 0)
    assert.equal(faultsOf(deed('enter', 1, 'ok'), deed('leave', 2, 'info'), look([], [])), 0)
    assert.equal(faultsOf(deed('enter', 1, 'ok'), { ...base, type: 'cut', peerId }, look([], [])), 0)
  })

  test('sees what nobody sent, another identity, and a start that failed', () => {
    assert.equal(faultsOf(deed('enter', 1, 'ok'), look([7], [])), 1)
    assert.equal(faultsOf(look([], ['stranger'])), 1)
    assert.equal(faultsOf(look([], []), { ...base, type: 'started', peerId: 'other', startMs: 1 }), 1)
    assert.equal(faultsOf({ ...base, type: 'broken', reason: 'data-corrupt' }), 1)
  })
})
