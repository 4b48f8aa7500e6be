import { parseArgs } from 'node:util'
import { chosen, machine, numbers, printer, wrong } from './common/command.ts'
import { CONTESTANTS, type Contestant, isBuilt, USUAL } from './message/contestants.ts'
import type { Job } from './message/job.ts'
import { summarise, textOf, verdictOf } from './message/summary.ts'
import { jobsOf, type Result, runTrial } from './message/trial.ts'

/** What does a message cost? See README.md beside this file. */
const HELP = `node bench/message.ts [flags]
  --rounds 5            rounds; each runs every contestant once, in alternating order
  --sizes 64,1024       bytes of a message
  --work 1              part of the usual work: 0.1 for a first look
  --only a,b            contestants: ${CONTESTANTS.map(({ name }) => name).join(', ')}
  --baseline tcp,hyperswarm  what the ratios are against
  --markdown            tables as in docs/performance.md
  --json                one JSON document on standard output; the tables go to standard error
${CONTESTANTS.map(({ name, about }) => `    ${name.padEnd(16)}${about}`).join('\n')}`

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    sizes: { type: 'string', default: '64,1024' },
    work: { type: 'string', default: '1' },
    only: { type: 'string' },
    baseline: { type: 'string', default: 'tcp,hyperswarm' },
    markdown: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  }
})
if (flags.help) {
  console.log(HELP)
  process.exit(0)
}

const sizes = numbers(flags.sizes)
const rounds = Number(flags.rounds)
const work = Number(flags.work)
const baselines = flags.baseline.split(',')
if (!sizes.every(size => size >= 8)) wrong('--sizes: bytes, 8 or more')
if (!(rounds >= 1)) wrong('--rounds: 1 or more')
if (!(work > 0)) wrong('--work: more than 0')

const say = printer(flags.json)
const contestants = chosen(CONTESTANTS, flags.only?.split(',') ?? USUAL)
if (!isBuilt) say('dist/ does not exist (npm run build): Muster runs from src/')

const jobs = jobsOf(sizes, work)
const takesPart = ({ kinds }: Contestant, { kind }: Job) => kinds?.includes(kind) ?? true
const runs = jobs.map(job => ({
  job,
  results: Object.fromEntries(
    contestants.filter(contestant => takesPart(contestant, job)).map(({ name }): [string, Result[]] => [name, []])
  )
}))
for (let round = 0; round < rounds; round++) {
  for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
    const own = runs.filter(({ job }) => takesPart(contestant, job))
    const ownJobs = own.map(({ job }) => job)
    for (const [i, result] of (await runTrial(contestant, ownJobs)).entries()) {
      own[i]?.results[contestant.name]?.push(result)
    }
  }
}

const summaries = runs.map(run => summarise(run, baselines))
say(`${rounds} rounds, two processes, loopback. Medians; × is the median of the per-round ratios.`)
say('Processor time (cpu) is user and system of both ends together.\n')
for (const summary of summaries) say(`${textOf(summary, flags.markdown)}\n`)
if (contestants.some(({ name }) => name.startsWith('muster'))) say(verdictOf(summaries, flags.markdown))
const all = runs.flatMap(({ results }) => Object.values(results).flat())
if (all.some(result => 'failed' in result)) process.exitCode = 1

if (flags.json) {
  console.log(
    JSON.stringify({ machine: machine(), settings: { rounds, sizes, work, baselines }, summaries }, undefined, 2)
  )
}
