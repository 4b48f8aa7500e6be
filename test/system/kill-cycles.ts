import { parseArgs } from 'node:util'
import { printVerdict } from './kill-print.ts'
import { runKills } from './kill-run.ts'

// node test/system/kill-cycles.ts --cycles 200 --seed 1 [--history FILE]
const { values } = parseArgs({
  options: {
    cycles: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    history: { type: 'string' }
  }
})
const begun = performance.now()
console.log(`${values.cycles} cycles, seed ${values.seed}`)
const run = await runKills({
  cycles: Number(values.cycles),
  seed: Number(values.seed),
  ...(values.history === undefined ? {} : { historyFile: values.history }),
  onCycle: (cycle, ending) => {
    if (cycle % 10 === 0) console.error(`cycle ${cycle} (${ending})`)
  }
})
console.log(printVerdict(run))
console.log(`it took ${Math.round((performance.now() - begun) / 1000)} s`)
process.exit(run.verdict.faults.length === 0 ? 0 : 1)
