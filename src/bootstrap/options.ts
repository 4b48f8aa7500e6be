import { type CommandLine, parseCommandLine } from '../shared/core/command-line.ts'
import { nodeOptions, programOptions } from '../shared/core/common-options.ts'
import { checkOptions, type Settings, type Values } from '../shared/core/options.ts'

/** What `createBootstrap` takes. */
export const BOOTSTRAP_SETTINGS = nodeOptions({
  listen: '0.0.0.0:8468',
  http: '127.0.0.1:8469',
  bootstrap: [],
  dataOtherwise: "the user's data folder of the platform, e.g. ~/.local/share/muster/bootstrap"
})

/** What `npm run bootstrap` takes. */
export const BOOTSTRAP_OPTIONS = { ...BOOTSTRAP_SETTINGS, ...programOptions({ logLevel: 'info' }) }

export type BootstrapSettings = Settings<typeof BOOTSTRAP_SETTINGS>
export type BootstrapValues = Values<typeof BOOTSTRAP_SETTINGS>

/** What a bootstrap does when nothing is said. */
export const DEFAULTS: BootstrapValues = checkOptions(BOOTSTRAP_SETTINGS, {})

/** What may stand before all flags, and does one thing instead of running a bootstrap. */
export const BOOTSTRAP_COMMANDS = ['export', 'import'] as const

/** @throws MusterError `options-invalid`, one line for each problem. */
export function commandLineFrom(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>
): CommandLine<typeof BOOTSTRAP_OPTIONS> {
  return parseCommandLine(BOOTSTRAP_OPTIONS, argv, env, { commands: BOOTSTRAP_COMMANDS })
}
