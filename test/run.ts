import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'

// `npm test` runs everything; `npm test -- unit contract` only those rooms; further words go to Node's test runner.
// Rooms run one after the other: what starts processes and whole networks should not compete with the rest for two cores.
const ROOMS = { unit: 2, contract: 2, loopback: 1, system: 1 } as const
type Room = keyof typeof ROOMS

const words = process.argv.slice(2)
const chosen = words.filter((word): word is Room => word in ROOMS)
const options = words.filter(word => !(word in ROOMS))
const rooms = chosen.length > 0 ? chosen : (Object.keys(ROOMS) as Room[])

const failed = rooms.filter(room => {
  const files = globSync(`test/${room}/**/*.test.ts`).sort()
  console.log(`# ${room}: ${files.length} files`)
  const args = ['--test', `--test-concurrency=${ROOMS[room]}`, '--test-reporter=spec', ...options, ...files]
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0
})
if (failed.length > 0) {
  console.error(`failed: ${failed.join(', ')}`)
  process.exitCode = 1
}
