import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { helpText, optionsTable, parseCommandLine } from '../../src/shared/core/command-line.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import {
  checkOptions,
  editDistance,
  listOption,
  oneOf,
  switchOption,
  textOption
} from '../../src/shared/core/options.ts'

const TABLE = {
  colour: textOption<'red' | 'blue', 'red' | 'blue'>({
    flag: '--colour',
    env: 'T_COLOUR',
    placeholder: 'red|blue',
    help: 'the colour',
    expects: 'red or blue',
    default: 'red',
    parse: oneOf('red', 'blue')
  }),
  place: textOption<string, undefined>({
    flag: '--place',
    env: 'T_PLACE',
    placeholder: 'PLACE',
    help: 'the place',
    expects: 'a place',
    default: undefined,
    otherwise: 'anywhere',
    parse: text => text
  }),
  item: listOption<string>({
    flag: '--item',
    env: 'T_ITEM',
    placeholder: 'WORD',
    help: 'a thing',
    expects: 'lower case letters',
    default: ['one'],
    parse: text => {
      if (!/^[a-z]+$/.test(text)) throw new RangeError('not a word')
      return text
    }
  }),
  quiet: switchOption({ flag: '--quiet', env: 'T_QUIET', help: 'say less', default: false }),
  extras: switchOption({ flag: '--no-extras', env: 'T_NO_EXTRAS', help: 'do less', default: true }),
  help: switchOption({ flag: '--help', short: '-h', help: 'print this', default: false })
}

function problemsOf(run: () => unknown): string[] {
  try {
    run()
  } catch (thrown) {
    assert.ok(isMusterError(thrown, 'options-invalid'), String(thrown))
    return thrown.message.split('\n')
  }
  return []
}

describe('parseCommandLine', () => {
  const valuesOf = (argv: string[], env = {}) => parseCommandLine(TABLE, argv, env).values

  it('gives the defaults when nothing is said', () => {
    const { values, given } = parseCommandLine(TABLE, [], {})
    assert.deepEqual(values, {
      colour: 'red',
      place: undefined,
      item: ['one'],
      quiet: false,
      extras: true,
      help: false
    })
    assert.equal(given.size, 0)
  })

  it('reads a value behind a space and behind an equals sign', () => {
    assert.equal(valuesOf(['--colour', 'blue']).colour, 'blue')
    assert.equal(valuesOf(['--colour=blue']).colour, 'blue')
    assert.equal(valuesOf(['--place=a=b\nc']).place, 'a=b\nc')
    assert.equal(valuesOf(['--place', '-5']).place, '-5')
    assert.equal(valuesOf(['--place=--odd']).place, '--odd')
  })

  it('collects repeated lists, each value once, instead of the default', () => {
    assert.deepEqual(valuesOf(['--item', 'b', '--item=a', '--item', 'b']).item, ['b', 'a'])
  })

  it('turns switches over, and back when told so', () => {
    const on = valuesOf(['--quiet', '--no-extras'])
    assert.deepEqual([on.quiet, on.extras], [true, false])
    const off = valuesOf(['--quiet=false', '--no-extras=off'])
    assert.deepEqual([off.quiet, off.extras], [false, true])
  })

  it('reads the environment, with commas in lists, and takes empty for unset', () => {
    const env = { T_COLOUR: ' blue ', T_ITEM: 'a, b,', T_NO_EXTRAS: '1', T_QUIET: '' }
    const { values, given } = parseCommandLine(TABLE, [], env)
    assert.deepEqual([values.colour, values.item, values.extras, values.quiet], ['blue', ['a', 'b'], false, false])
    assert.deepEqual(
      [...given],
      [
        ['colour', 'environment'],
        ['item', 'environment'],
        ['extras', 'environment']
      ]
    )
  })

  it('lets flags win over the environment, even over one that is wrong', () => {
    const { values, given } = parseCommandLine(TABLE, ['--colour', 'red', '--item', 'z'], {
      T_COLOUR: '?',
      T_ITEM: 'a,b'
    })
    assert.deepEqual([values.colour, values.item, given.get('colour')], ['red', ['z'], 'flag'])
  })

  it('reports every problem at once, a line each, with what was received and expected', () => {
    const argv = ['--color', 'blue', '--item=A', '--item', 'b', '--quiet=perhaps', 'stray', '-x', '--colour']
    assert.deepEqual(
      problemsOf(() => parseCommandLine(TABLE, argv, { T_PLACE: 'here' })),
      [
        '--color: there is no such flag; did you mean --colour?',
        '"stray": expected a flag that starts with --',
        '-x: there is no such flag',
        '--colour: received nothing, expected red or blue',
        '--item: received "A", expected lower case letters',
        '--quiet: received "perhaps", expected true or false, or nothing'
      ]
    )
  })

  it('names the variable when the environment is at fault', () => {
    assert.deepEqual(
      problemsOf(() => parseCommandLine(TABLE, [], { T_COLOUR: 'green' })),
      ['T_COLOUR: received "green", expected red or blue']
    )
  })

  it('refuses two values where one is taken', () => {
    assert.deepEqual(
      problemsOf(() => parseCommandLine(TABLE, ['--colour', 'red', '--colour=blue'], {})),
      ['--colour: received "red" and "blue", expected it once']
    )
  })

  it('does not take the next flag for a value', () => {
    assert.equal(problemsOf(() => parseCommandLine(TABLE, ['--place', '--quiet'], {})).length, 1)
  })

  it('helps whoever asks, whatever else is wrong', () => {
    assert.equal(parseCommandLine(TABLE, ['--colour', 'green', '--nonsense', '-h'], {}).values.help, true)
    assert.equal(parseCommandLine(TABLE, ['--help'], { T_COLOUR: 'green' }).values.help, true)
  })

  it('shortens what it repeats, and keeps it on one line', () => {
    const [line = ''] = problemsOf(() => parseCommandLine(TABLE, ['--item', `${'é\n'.repeat(1000)}`], {}))
    assert.ok(line.length < 250 && line.includes('(3000 bytes)'), line)
  })

  it('applies the rules between options', () => {
    const rules = () => ['red and quiet do not go together']
    assert.deepEqual(
      problemsOf(() => parseCommandLine(TABLE, [], {}, { rules })),
      ['red and quiet do not go together']
    )
  })
})

describe('checkOptions', () => {
  it('puts settings over the defaults; undefined is the default', () => {
    const values = checkOptions(TABLE, { colour: undefined, item: ['x', 'x'], extras: false })
    assert.deepEqual([values.colour, values.item, values.extras], ['red', ['x'], false])
    assert.ok(Object.isFrozen(values) && Object.isFrozen(values.item))
  })

  it('takes its own answer back, also after a structured clone', () => {
    const values = checkOptions(TABLE, { place: 'here' })
    assert.deepEqual(checkOptions(TABLE, structuredClone(values)), values)
  })

  it('reports unknown keys and wrong types, all at once', () => {
    const settings = { colr: 'red', place: 5, item: 'one', quiet: 'yes', extras: null, toString: 1, log: {} } as object
    assert.deepEqual(
      problemsOf(() => checkOptions(TABLE, settings, { also: ['log'] })),
      [
        'colr: there is no such option; did you mean colour?',
        'place: received 5, expected a place',
        'item: received "one", expected a list, each of it lower case letters',
        'quiet: received "yes", expected true or false',
        'extras: received null, expected true or false',
        'toString: there is no such option'
      ]
    )
  })
})

describe('the help', () => {
  it('has a line for each option, with default and variable', () => {
    const help = helpText(TABLE, 'usage: thing [options]')
    assert.match(help, /^usage: thing \[options\]\n\n/)
    assert.match(help, /^ {2}--item WORD… +a thing \(default one; T_ITEM\)$/m)
    assert.match(help, /^ {2}--place PLACE +the place \(default anywhere; T_PLACE\)$/m)
    assert.match(help, /^ {2}-h, --help +print this$/m)
  })

  it('is made of the rows that documents are checked against', () => {
    assert.deepEqual(optionsTable(TABLE)[0], {
      key: 'colour',
      flag: '--colour red|blue',
      env: 'T_COLOUR',
      default: 'red',
      help: 'the colour'
    })
    assert.equal(optionsTable(TABLE).length, Object.keys(TABLE).length)
  })
})

describe('editDistance', () => {
  it('counts insertions, deletions, replacements and swapped neighbours', () => {
    const cases: Array<[string, string, number]> = [
      ['', '', 0],
      ['abc', 'abc', 0],
      ['', 'abc', 3],
      ['listn', 'listen', 1],
      ['tpoic', 'topic', 1],
      ['kitten', 'sitting', 3]
    ]
    for (const [a, b, distance] of cases) {
      assert.equal(editDistance(a, b), distance, `${a} → ${b}`)
      assert.equal(editDistance(b, a), distance, `${b} → ${a}`)
    }
  })
})
