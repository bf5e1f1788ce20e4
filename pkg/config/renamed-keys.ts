/** Renamed keys: a file with the old name is still read, with a warning. */
import { isMap, isScalar, Pair, Scalar, YAMLMap, type Node } from "yaml";

export interface RenamedKey {
  /** Path in YAML from the root, e.g. `server.log_level`. */
  from: string;
  to: string;
}

export interface RenameReport {
  /** Called for each use of an old name; `key` is its node. */
  moved(key: Node, rename: RenamedKey): void;
  /** Called if the file has both names. */
  clashed(key: Node, rename: RenamedKey): void;
}

/** Moves the values of old keys to the new keys, in the nodes of a parsed file. */
export function moveRenamedKeys(
  root: Node | undefined,
  renames: readonly RenamedKey[],
  report: RenameReport,
): void {
  if (!isMap(root)) return;
  const top = root as YAMLMap<Node, Node | null>;
  for (const rename of renames) {
    const [fromSection, fromKey] = split(rename.from);
    const source = findPair(top, fromSection)?.value;
    if (!isMap(source)) continue;
    const from = source as YAMLMap<Node, Node | null>;
    const pair = findPair(from, fromKey);
    if (pair === undefined) continue;
    from.items.splice(from.items.indexOf(pair), 1);
    const [toSection, toKey] = split(rename.to);
    const target = sectionOf(top, toSection, pair.key);
    if (target === undefined || findPair(target, toKey) !== undefined) {
      report.clashed(pair.key, rename);
      continue;
    }
    target.items.push(new Pair<Node, Node | null>(scalarAt(toKey, pair.key), pair.value));
    report.moved(pair.key, rename);
  }
}

function split(path: string): [section: string, key: string] {
  const dot = path.indexOf(".");
  return [path.slice(0, dot), path.slice(dot + 1)];
}

function findPair(
  map: YAMLMap<Node, Node | null>,
  name: string,
): Pair<Node, Node | null> | undefined {
  return map.items.find(({ key }) => isScalar(key) && key.value === name);
}

/** Returns the section's map, created if missing; undefined if the key has another value. */
function sectionOf(
  top: YAMLMap<Node, Node | null>,
  name: string,
  near: Node,
): YAMLMap<Node, Node | null> | undefined {
  const found = findPair(top, name);
  if (found?.value && isMap(found.value)) return found.value as YAMLMap<Node, Node | null>;
  if (found !== undefined && !isEmpty(found.value)) return undefined;
  const made = new YAMLMap<Node, Node | null>();
  made.range = near.range;
  if (found === undefined) top.items.push(new Pair<Node, Node | null>(scalarAt(name, near), made));
  else found.value = made;
  return made;
}

function isEmpty(value: Node | null): boolean {
  return value === null || (isScalar(value) && (value.value === null || value.value === ""));
}

/** Returns a scalar with the position of `near`, for messages. */
function scalarAt(text: string, near: Node): Scalar<string> {
  const scalar = new Scalar(text);
  scalar.range = near.range;
  return scalar;
}
