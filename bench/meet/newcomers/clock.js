/**
 * What every newcomer shares. Plain JavaScript without imports, so that no stack pays for the harness:
 * a `.ts` file would add Node's type stripping to all of them.
 * The job comes as JSON in the first argument; `origin` is the driver's monotonic clock just before it spawned us.
 */
export const job = JSON.parse(process.argv[2])

const origin = BigInt(job.origin)
const marks = {}

/** Notes when something happened, in milliseconds since the spawn; the first time counts. */
export function mark(name) {
  marks[name] ??= Number(process.hrtime.bigint() - origin) / 1e6
}

/** Hands the result to the driver. */
export function report(extra = {}) {
  const cpu = process.cpuUsage()
  const figures = { marks, cpuMs: (cpu.user + cpu.system) / 1e3, rssBytes: process.memoryUsage.rss(), ...extra }
  process.stdout.write(`${JSON.stringify(figures)}\n`)
}

/** Leaves without waiting for sockets, but not before the last line is out. */
export function exit() {
  process.stdout.write('', () => process.exit(0))
}

mark('start')
