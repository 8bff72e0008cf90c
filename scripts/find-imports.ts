/**
 * What a TypeScript or JavaScript file imports, by TypeScript's own parser: imports, `export … from`, types by
 * `import('…')`, dynamic imports, and `require`, also one that `createRequire` made. It finds names and resolves none.
 */
import ts from 'typescript';

export interface Import {
  /** What is written between the quotes; undefined when it is computed. */
  readonly specifier: string | undefined;
  /** Counts from 1. */
  readonly line: number;
  /** `type` is erased before the program runs; `dynamic` is loaded only when the program comes there. */
  readonly kind: 'static' | 'type' | 'dynamic';
}

/** The imports of `text` in their order; `file` is its name, whose ending says which language it is. */
export function findImports(file: string, text: string): Import[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, false);
  const found: Import[] = [];
  const makers = new Set(['createRequire']);
  const requires = new Set(['require']);
  const calls: { readonly name: string; readonly node: ts.CallExpression }[] = [];
  let hasOwnRequire = false;

  const add = (node: ts.Node, kind: Import['kind'], name: ts.Node | undefined) => {
    const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
    found.push({ specifier: name && ts.isStringLiteralLike(name) ? name.text : undefined, line, kind });
  };
  const makesRequire = (node: ts.Node | undefined) =>
    node !== undefined &&
    ts.isCallExpression(node) &&
    (ts.isPropertyAccessExpression(node.expression)
      ? node.expression.name.text === 'createRequire'
      : ts.isIdentifier(node.expression) && makers.has(node.expression.text));

  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(node, node.importClause?.isTypeOnly === true ? 'type' : 'static', node.moduleSpecifier);
    } else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined) {
      add(node, node.isTypeOnly ? 'type' : 'static', node.moduleSpecifier);
    } else if (ts.isExternalModuleReference(node)) {
      add(node, 'static', node.expression);
    } else if (ts.isImportTypeNode(node)) {
      add(node, 'type', ts.isLiteralTypeNode(node.argument) ? node.argument.literal : undefined);
    } else if (ts.isImportSpecifier(node) && node.propertyName?.text === 'createRequire') {
      makers.add(node.name.text);
    } else if (
      ts.isVariableDeclaration(node) &&
      ts.isIdentifier(node.name) &&
      makesRequire(node.initializer)
    ) {
      requires.add(node.name.text);
    } else if (ts.isFunctionDeclaration(node) && node.name?.text === 'require') {
      hasOwnRequire = true;
    } else if (ts.isCallExpression(node)) {
      const { expression } = node;
      if (expression.kind === ts.SyntaxKind.ImportKeyword) add(node, 'dynamic', node.arguments[0]);
      else if (makesRequire(expression)) add(node, 'static', node.arguments[0]);
      else if (ts.isIdentifier(expression)) calls.push({ name: expression.text, node });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  // A module has no `require` but one that it made; a function of its own by that name loads nothing.
  if (hasOwnRequire) requires.delete('require');
  for (const { name, node } of calls) if (requires.has(name)) add(node, 'static', node.arguments[0]);
  return found.sort((a, b) => a.line - b.line);
}
