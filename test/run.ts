import { spawnSync } from 'node:child_process'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

// `npm test` runs everything; `npm test -- unit contract` only those rooms; further words go to Node's test runner.
// Rooms run one after the other: what starts processes and whole networks should not compete with the rest for two cores.
const ROOMS = { unit: 2, contract: 2, loopback: 1, system: 1 } as const
type Room = keyof typeof ROOMS

const words = process.argv.slice(2)
const chosen = words.filter((word): word is Room => word in ROOMS)
const options = words.filter(word => !(word in ROOMS))
const rooms = chosen.length > 0 ? chosen : (Object.keys(ROOMS) as Room[])

const folder = mkdtempSync(join(tmpdir(), 'muster-failures-'))
const failuresOf = (room: Room): string => join(folder, room)

const failed = rooms.filter(room => {
  const files = globSync(`test/${room}/**/*.test.ts`).sort()
  console.log(`# ${room}: ${files.length} files`)
  const reporters = {
    spec: 'stdout',
    [new URL('support/failures.ts', import.meta.url).href]: failuresOf(room)
  }
  const args = Object.entries(reporters).flatMap(([reporter, destination]) => [
    `--test-reporter=${reporter}`,
    `--test-reporter-destination=${destination}`
  ])
  args.push('--test', `--test-concurrency=${ROOMS[room]}`, ...options, ...files)
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status !== 0
})
if (failed.length > 0) {
  // once more, at the end: thousands of lines lie in between
  for (const room of failed) console.error(`\nfailed: ${room}\n${readFileSync(failuresOf(room), 'utf8')}`)
  process.exitCode = 1
}
rmSync(folder, { recursive: true })
