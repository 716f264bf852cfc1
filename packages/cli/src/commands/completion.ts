import { exitCodes, Failure } from '@heddle/control/failure';
import type { Argument, Command, Option } from 'commander';

/** The words that can follow a command path such as `heddle service list`. */
interface Node {
  /** The words of the command from the root, without options. */
  readonly path: readonly string[];
  readonly commands: readonly { name: string; about: string }[];
  readonly options: readonly { long: string; short?: string; about: string; values: string }[];
  /** The values of the first argument, and true if it is a path. */
  readonly values: readonly string[];
  readonly takesPath: boolean;
}

const shells = ['bash', 'zsh', 'fish'];

/** `heddle completion`: prints a script that makes the shell complete `heddle`. */
export function completion(program: Command, shell: string): void {
  const nodes = walk(program, [program.name()]);
  const write: Record<string, (nodes: readonly Node[]) => string> = { bash, zsh, fish };
  const script = write[shell]?.(nodes);
  if (script === undefined) {
    throw new Failure(
      exitCodes.usage,
      `write completion for ${shell}: that shell is not known (use ${shells.join(', ')})`,
    );
  }
  process.stdout.write(script);
}

function walk(command: Command, path: readonly string[]): Node[] {
  const [first] = command.registeredArguments as readonly Argument[];
  const node: Node = {
    path,
    commands: command.commands.map((each) => ({ name: each.name(), about: each.description() })),
    options: [...(command.options as readonly Option[]), helpOption].map((option) => ({
      long: option.long!,
      ...(option.short ? { short: option.short } : {}),
      about: option.description,
      values: valuesOf(option),
    })),
    values: first?.name() === 'shell' ? shells : [],
    takesPath: first?.name() === 'dir',
  };
  return [node, ...command.commands.flatMap((each) => walk(each, [...path, each.name()]))];
}

const helpOption = {
  long: '--help',
  short: '-h',
  description: 'show help',
  argChoices: undefined,
  required: false,
} as unknown as Option;

/**
 * Returns the possible values, `path` for a file or folder, `text` for anything else, empty for a switch.
 */
function valuesOf(option: Option): string {
  if (option.argChoices) return option.argChoices.join(' ');
  if (!option.required) return '';
  return /<(path|dir|file)>/.test(option.flags) ? 'path' : 'text';
}

const words = (node: Node) => [
  ...node.commands.map(({ name }) => name),
  ...node.values,
  ...node.options.map(({ long }) => long),
];

/** Returns the names of options with a value, so that the value does not count as a command. */
function optionsWithValue(nodes: readonly Node[]): string[] {
  const names = new Set<string>();
  for (const { options } of nodes) {
    for (const { long, short, values } of options) {
      if (values === '') continue;
      names.add(long);
      if (short) names.add(short);
    }
  }
  return [...names];
}

function bash(nodes: readonly Node[]): string {
  const cases = nodes.map(
    (node) =>
      `    '${node.path.join(' ')}') words='${words(node).join(' ')}'; paths=${node.takesPath ? 1 : 0} ;;`,
  );
  const valued: string[] = [];
  for (const { options } of nodes) {
    for (const { long, short, values } of options) {
      if (values === '' || values === 'text') continue;
      const reply =
        values === 'path'
          ? 'COMPREPLY=($(compgen -f -- "$current"))'
          : `COMPREPLY=($(compgen -W '${values}' -- "$current"))`;
      const entry = `    ${[long, short].filter(Boolean).join('|')}) ${reply}; return ;;`;
      if (!valued.includes(entry)) valued.push(entry);
    }
  }
  const commands = new Set(nodes.slice(1).map(({ path }) => path.at(-1)!));
  return `# bash completion for heddle; made by: heddle completion bash
_heddle() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]}
  local path=heddle words='' paths=0 word i
  COMPREPLY=()
  case $previous in
${valued.join('\n')}
    ${optionsWithValue(nodes).join('|')}) return ;;
  esac
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case $word in
      --) return ;;
      ${optionsWithValue(nodes).join('|')}) ((i++)) ;;
      ${[...commands].join('|')}) path="$path $word" ;;
    esac
  done
  case $path in
${cases.join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  if ((paths)); then COMPREPLY+=($(compgen -d -- "$current")); fi
}
complete -F _heddle heddle
`;
}

/** Escapes text for single quotes of zsh and fish. */
const quoted = (text: string) => `'${text.replace(/'/g, "'\\''")}'`;

function zsh(nodes: readonly Node[]): string {
  const cases = nodes.map((node) => {
    const described = [
      ...node.commands.map(({ name, about }) => [name, about]),
      ...node.values.map((value) => [value, '']),
      ...node.options.map(({ long, about }) => [long, about]),
    ].map(([name, about]) => quoted(`${name}:${about!.replace(/:/g, ' -')}`));
    return `    '${node.path.join(' ')}') candidates=(${described.join(' ')}); paths=${node.takesPath ? 1 : 0} ;;`;
  });
  const valued: string[] = [];
  for (const { options } of nodes) {
    for (const { long, short, values } of options) {
      if (values === '' || values === 'text') continue;
      const act = values === 'path' ? '_files' : `compadd -- ${values}`;
      const entry = `    ${[long, short].filter(Boolean).join('|')}) ${act}; return ;;`;
      if (!valued.includes(entry)) valued.push(entry);
    }
  }
  const commands = new Set(nodes.slice(1).map(({ path }) => path.at(-1)!));
  return `#compdef heddle
# zsh completion for heddle; made by: heddle completion zsh
_heddle() {
  local where=heddle word
  local -a candidates
  integer i paths=0
  case $words[CURRENT-1] in
${valued.join('\n')}
    ${optionsWithValue(nodes).join('|')}) return ;;
  esac
  for ((i = 2; i < CURRENT; i++)); do
    word=$words[i]
    case $word in
      --) return ;;
      ${optionsWithValue(nodes).join('|')}) ((i++)) ;;
      ${[...commands].join('|')}) where="$where $word" ;;
    esac
  done
  case $where in
${cases.join('\n')}
  esac
  _describe heddle candidates
  if ((paths)); then _files -/; fi
}
if [[ $funcstack[1] = _heddle ]]; then _heddle "$@"; else compdef _heddle heddle; fi
`;
}

function fish(nodes: readonly Node[]): string {
  const lines = [
    '# fish completion for heddle; made by: heddle completion fish',
    'function __heddle_at',
    '  set -l words (commandline -opc)',
    '  set -l path heddle',
    '  set -l skip 0',
    '  for word in $words[2..]',
    '    if test $skip = 1; set skip 0; continue; end',
    `    if contains -- $word ${optionsWithValue(nodes).join(' ')}; set skip 1; continue; end`,
    "    if string match -q -- '-*' $word; continue; end",
    '    set path "$path $word"',
    '  end',
    '  test "$path" = "$argv[1]"',
    'end',
    'complete -c heddle -f',
  ];
  for (const node of nodes) {
    const at = `-n ${quoted(`__heddle_at "${node.path.join(' ')}"`)}`;
    for (const { name, about } of node.commands) {
      lines.push(`complete -c heddle ${at} -a ${name} -d ${quoted(about)}`);
    }
    for (const value of node.values) lines.push(`complete -c heddle ${at} -a ${value}`);
    if (node.takesPath) {
      lines.push(`complete -c heddle ${at} -a '(__fish_complete_directories)'`);
    }
    for (const { long, short, about, values } of node.options) {
      const names = `-l ${long.slice(2)}${short ? ` -s ${short.slice(1)}` : ''}`;
      const value =
        values === ''
          ? ''
          : values === 'path'
            ? ' -r -F'
            : values === 'text'
              ? ' -x'
              : ` -x -a ${quoted(values)}`;
      lines.push(`complete -c heddle ${at} ${names}${value} -d ${quoted(about)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}
