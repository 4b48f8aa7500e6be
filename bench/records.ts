import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { chosen, machine, numbers, printer, wrong } from './common/command.ts'
import { LinkUnavailable, openLink, type Place } from './common/link.ts'
import { CONTESTANTS, type StackName } from './records/contestants.ts'
import { type Network, openNetwork } from './records/network.ts'
import { measureRecall, type Recall } from './records/recall.ts'
import { type Row, type Run, recallText, summarise, textOf, verdictOf } from './records/summary.ts'
import { runTrial, type Trial } from './records/trial.ts'

/** What does it cost to put and get a record? See README.md beside this file. */
const HELP = `node bench/records.ts [flags]
  --nodes 16,64         nodes of each network, the measured one included; one run for each
  --rtt 0,20            artificial round trip in milliseconds; more than 0 needs Linux, root and python3
  --rounds 5            rounds; each runs every contestant once, in alternating order
  --operations 100      puts and gets of each contestant in each round
  --processes 4         processes the other nodes are spread over
  --recall 48           nodes of the network that recall is measured in; 0: not at all
  --keys 50             keys it is measured with
  --only a,b            contestants: ${CONTESTANTS.map(({ name }) => name).join(', ')}
  --baseline kad-dht,hyperdht-mutable  what the ratios are against
  --profile folder      CPU profiles of the last round there: of the measured process, and of one that holds records
  --markdown            tables as in docs/performance.md
  --json                one JSON document on standard output; the tables go to standard error
${CONTESTANTS.map(({ name, about }) => `    ${name.padEnd(20)}${about}`).join('\n')}`

const { values: flags } = parseArgs({
  options: {
    nodes: { type: 'string', default: '16,64' },
    rtt: { type: 'string', default: '0,20' },
    rounds: { type: 'string', default: '5' },
    operations: { type: 'string', default: '100' },
    processes: { type: 'string', default: '4' },
    recall: { type: 'string', default: '48' },
    keys: { type: 'string', default: '50' },
    only: { type: 'string' },
    baseline: { type: 'string', default: 'kad-dht,hyperdht-mutable' },
    profile: { type: 'string' },
    markdown: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  }
})
if (flags.help) {
  console.log(HELP)
  process.exit(0)
}

const rounds = Number(flags.rounds)
const operations = Number(flags.operations)
const processes = Number(flags.processes)
const recallNodes = Number(flags.recall)
const keys = Number(flags.keys)
const baselines = flags.baseline.split(',')
const least = processes + 2 // a bootstrap and one more, the measured one, and one for each other process
if (![rounds, operations, processes, keys].every(each => each >= 1)) {
  wrong('--rounds, --operations, --processes and --keys are 1 or more')
}
if (!numbers(flags.nodes).every(each => each >= least)) wrong(`--nodes: at least ${least}, two more than processes`)
if (!numbers(flags.rtt).every(each => each >= 0)) wrong('--rtt: milliseconds, 0 or more')
if (!(recallNodes === 0 || recallNodes >= least)) wrong(`--recall: 0, or at least ${least}`)

const say = printer(flags.json)
const contestants = flags.only === undefined ? CONTESTANTS : chosen(CONTESTANTS, flags.only.split(','))
const profiles = flags.profile === undefined ? undefined : resolve(flags.profile)
if (profiles !== undefined) await mkdir(profiles, { recursive: true })

/** Brings the networks up and measures in them, a warm-up round and then `rounds` that count. */
async function measure(nodes: number, rttMs: number): Promise<Run> {
  await using link = await openLink(processes + 1, rttMs)
  const [home, ...places] = link.places as [Place, ...Place[]]
  await using opened = new AsyncDisposableStack()
  const networks = new Map<StackName, Network>()
  for (const name of new Set(contestants.map(({ network }) => network))) {
    const network = opened.use(await openNetwork(name, nodes, places, home))
    networks.set(name, network)
    network.freeze()
  }
  const trials: Record<string, (Trial | undefined)[]> = Object.fromEntries(contestants.map(({ name }) => [name, []]))
  const failures: string[] = []
  for (let round = -1; round < rounds; round++) {
    for (const contestant of round % 2 === 0 ? contestants : contestants.toReversed()) {
      const trial = await runTrial(networks.get(contestant.network) as Network, contestant, {
        operations,
        profiles: round === rounds - 1 ? profiles : undefined
      }).catch(thrown => {
        failures.push(`${contestant.name}: ${(thrown as Error).message.split('\n')[0]}`)
        return undefined
      })
      if (round >= 0) trials[contestant.name]?.push(trial) // the first round only warms code and connections up
    }
  }
  const tables = Object.fromEntries([...networks].map(([name, network]) => [name, network.tables]))
  return { nodes, rttMs, tables, trials, failures: [...new Set(failures)] }
}

async function recallOf(): Promise<Recall> {
  await using link = await openLink(processes + 1, 0)
  const [home, ...places] = link.places as [Place, ...Place[]]
  return await measureRecall(recallNodes, keys, places, home)
}

const runs: { readonly run: Run; readonly rows: readonly Row[] }[] = []
say(`${rounds} rounds of ${operations} puts and gets, one after the other, ${processes + 1} processes.`)
say('Medians; × is the median of the per-round ratios, ours to theirs. Processor time (cpu) is of the measured node.\n')
for (const rttMs of numbers(flags.rtt)) {
  for (const nodes of numbers(flags.nodes)) {
    try {
      const run = await measure(nodes, rttMs)
      const rows = summarise(run, baselines)
      runs.push({ run, rows })
      say(`${textOf(run, rows, flags.markdown)}\n`)
      if (run.failures.length > 0 || rows.some(({ done, of }) => done < of)) process.exitCode = 1
    } catch (thrown) {
      const isExpected = thrown instanceof LinkUnavailable
      if (!isExpected) process.exitCode = 1
      say(`skipped ${rttMs} ms with ${nodes} nodes: ${isExpected ? thrown.message : (thrown as Error).stack}\n`)
    }
  }
}
const recall = recallNodes === 0 ? undefined : await recallOf()
if (recall !== undefined) say(`${recallText(recall)}\n`)
if (contestants.some(({ network }) => network === 'muster')) say(verdictOf(runs, recall, flags.markdown))

if (flags.json) {
  const settings = { rounds, operations, processes, baselines }
  const results = runs.map(({ run, rows }) => ({ ...run, trials: plain(run.trials), summary: rows }))
  console.log(JSON.stringify({ machine: machine(), settings, runs: results, recall }, undefined, 2))
}

/** JSON writes typed arrays as objects. */
function plain(trials: Run['trials']): unknown {
  return JSON.parse(JSON.stringify(trials, (_, value) => (value instanceof Float64Array ? [...value] : value)))
}
