import { HistoryStore } from '../../src/shared/history/store.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { unsigned } from './history-world.ts'

// A keeper that takes messages as fast as the disk does, and prints the last number of each batch that is on disk. Started by
// test/system/history-kill.test.ts, which kills it.

const [folder = '', first = '1'] = process.argv.slice(2)
const store = new HistoryStore({ datastore: (await openStore(folder)).datastore })
await store.recall()
for (let sequence = Number(first); ; ) {
  for (const end = sequence + 20; sequence < end; sequence++) {
    store.take(unsigned('ana', sequence, { sentMs: Date.now(), bytes: 200 + (sequence % 50) }))
  }
  await store.written()
  process.stdout.write(`${sequence - 1}\n`)
}
