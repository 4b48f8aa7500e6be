import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../../src/shared/core/random.ts'
import { MAX_KEPT_MESSAGES } from '../../src/shared/history/limits.ts'
import { HistoryStore } from '../../src/shared/history/store.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { LOBBY, unsigned } from '../support/history-world.ts'
import { temporaryFolder } from '../support/topics.ts'

const WRITER = fileURLToPath(new URL('../support/history-writer.ts', import.meta.url))

it('a keeper that is killed again and again loses nothing that was on disk', { timeout: 120_000 }, async t => {
  const seed = Number(process.env.MUSTER_SEED ?? 4)
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  await using folder = await temporaryFolder()
  let next = 1
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [WRITER, folder.path, String(next)], { stdio: ['ignore', 'pipe', 'inherit'] })
    const gone = once(child, 'exit')
    const lines = createInterface({ input: child.stdout })
    let isKilled = false
    let confirmed = next - 1
    let left = 1 + Math.floor(random() * 60)
    for await (const line of lines) {
      confirmed = Number(line)
      if (--left > 0 || isKilled) continue
      isKilled = child.kill('SIGKILL')
    }
    await gone
    assert.ok(isKilled, 'the writer ended by itself')
    await using disk = await openStore(folder.path)
    const store = new HistoryStore({ datastore: disk.datastore })
    await store.recall()
    const messages = store.newest(LOBBY.id, MAX_KEPT_MESSAGES)
    const last = messages.at(-1)?.sequence ?? 0
    assert.ok(last >= confirmed, `${confirmed} was on disk, ${last} is the last`)
    assert.equal(store.messages, Math.min(last, MAX_KEPT_MESSAGES))
    for (const [at, kept] of messages.entries()) {
      assert.equal(kept.sequence, last - messages.length + 1 + at)
      const proof = await store.read(kept)
      assert.deepEqual(Uint8Array.from(proof ?? []), unsigned('ana', kept.sequence, { bytes: kept.bytes }).proof)
    }
    await store.written()
    next = last + 1
  }
})
