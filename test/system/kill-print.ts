import type { KillRun } from './kill-run.ts'

/** The figures of a run as lines of a Markdown table, and the broken promises. */
export function printVerdict({ verdict, tornWrites }: Pick<KillRun, 'verdict' | 'tornWrites'>): string {
  const { kills, lateKills, acknowledged, unknown, looks, found, excused, startMs, faults } = verdict
  const all = Object.values(kills).reduce((sum, each) => sum + each, 0)
  const rows: Array<[string, string | number]> = [
    ['kills', all],
    ['… while it worked', kills.running],
    ['… while it started', kills.starting],
    ['… while it stopped', kills.stopping],
    ['… of those, after it had ended by itself', lateKills],
    ['… after it had checked the members it remembers', kills.aged],
    ['kills that cut a write in the middle', tornWrites],
    ['acknowledged member records', acknowledged.enter],
    ['acknowledged provider records', acknowledged.provide],
    ['acknowledged goodbyes', acknowledged.leave],
    ['not acknowledged when the bootstrap died, or not confirmed', unknown],
    ['looks into the data folder', looks.disk],
    ['questions of a stranger right after a start', looks.wire],
    ['member records due and found', found.members],
    ['provider records due and found', found.providers],
    ['goodbyes due and kept', found.goodbyes],
    ['not due: expired', excused.expired],
    ['not due: a goodbye was on its way', excused.left],
    ['not due: never confirmed', excused.unknown],
    ['start until it listens, median / longest', `${startMs.median} / ${startMs.max} ms`],
    ['**promises broken**', `**${faults.length}**`]
  ]
  const table = rows.map(([what, value]) => `| ${what} | ${value} |`)
  return ['| what | figure |', '| --- | --- |', ...table, ...faults.map(fault => `FAULT ${fault}`)].join('\n')
}
