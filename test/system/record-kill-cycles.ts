import { parseArgs } from 'node:util'
import { runRecordKills } from './record-kill-run.ts'

// node test/system/record-kill-cycles.ts --cycles 200 --seed 1 [--history FILE]
const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    history: { type: 'string' }
  }
})
const verdict = await runRecordKills({
  cycles: Number(values.cycles),
  seed: Number(values.seed),
  ...(values.history === undefined ? {} : { historyFile: values.history }),
  onCycle: cycle => {
    if (cycle % 10 === 0) console.error(`cycle ${cycle}`)
  }
})
console.log(JSON.stringify({ seed: values.seed, ...verdict }, undefined, 2))
process.exit(verdict.lost.length + verdict.backwards.length + verdict.unreadable.length === 0 ? 0 : 1)
