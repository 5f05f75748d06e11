/** Rules for the portal's form (names from arm-ttk), and what it sends to the template. */
import { evaluateText, type Surroundings } from '../expand/evaluate.ts';
import { isObject, textOf, type Json } from '../expand/functions.ts';
import type { FormDefinition } from '../form/controls.ts';
import { templateParameters } from '../template/parameters.ts';

type JsonObject = { [key: string]: Json };
type Entered = Record<string, JsonObject>;

export function inspectForm(form: FormDefinition, template: { parameters: Record<string, unknown> }): string[] {
  const { steps } = form.view.properties;
  const { parameters } = form.view.outputs;
  const controls = steps.flatMap((step) => step.elements.map((control) => ({ step: step.name, control })));
  const known = new Set(controls.map(({ step, control }) => `steps('${step}').${control.name}`));
  const said: string[] = [];
  for (const name of Object.keys(parameters)) {
    if (template.parameters[name] === undefined) said.push(`Outputs-Must-Be-Present-In-Template-Parameters: ${name}`);
  }
  for (const [name, declared] of Object.entries(templateParameters)) {
    const isHidden = declared.ignored === true || declared.hidden === true;
    if (!isHidden && parameters[name] === undefined) said.push(`the form does not ask for ${name}`);
    if (isHidden && controls.some(({ control }) => control.name === name)) said.push(`the form asks for ${name}`);
  }
  const text = JSON.stringify(form);
  for (const [, mentioned = ''] of text.matchAll(/(steps\('[^']+'\)\.[A-Za-z0-9]+)/g)) {
    if (!known.has(mentioned)) said.push(`Controls-In-Outputs-Must-Exist: ${mentioned}`);
  }
  for (const { control } of controls) {
    said.push(...inspectControl(control as unknown as JsonObject));
  }
  return said;
}

function inspectControl(control: JsonObject): string[] {
  const name = textOf(control['name']);
  const constraints = isObject(control['constraints']) ? control['constraints'] : {};
  const said: string[] = [];
  const { regex, validationMessage, validations, allowedValues } = constraints;
  if (typeof regex === 'string') {
    // Throws when it is none.
    new RegExp(regex).test('');
    if (typeof validationMessage !== 'string' || validationMessage === '')
      said.push(`Validations-Must-Have-Message: ${name}`);
  }
  if (
    Array.isArray(validations) &&
    validations.some((validation) => isObject(validation) && validation['message'] === '')
  ) {
    said.push(`Validations-Must-Have-Message: ${name}`);
  }
  const isField = !['Microsoft.Common.InfoBox', 'Microsoft.Common.ResourceScope'].includes(textOf(control['type']));
  if (isField && (control['toolTip'] === '' || control['toolTip'] === undefined))
    said.push(`Tooltips-Should-Be-Present: ${name}`);
  const declared = templateParameters[name as keyof typeof templateParameters];
  if (Array.isArray(allowedValues)) {
    const values = allowedValues.map((allowed) => (isObject(allowed) ? allowed['value'] : allowed));
    const strange = values.filter((value) => declared?.allowedValues?.includes(textOf(value)) !== true);
    if (strange.length > 0) said.push(`Allowed-Values-Should-Actually-Be-Allowed: ${name} ${textOf(strange)}`);
  }
  if (declared?.type === 'securestring' && control['type'] !== 'Microsoft.Common.PasswordBox') {
    said.push(`${name} shows a secret while it is typed`);
  }
  if (/username/i.test(name) && control['defaultValue'] !== undefined && control['defaultValue'] !== '') {
    said.push(`Usernames-Should-Not-Have-A-Default: ${name}`);
  }
  if (control['type'] === 'Microsoft.Common.PasswordBox' && !/\{\d+,/.test(textOf(regex))) {
    said.push(`PasswordBoxes-Must-Have-Min-Length: ${name}`);
  }
  return said;
}

/** Fields that are shown for what was entered. A field that is not shown has no value in the portal. */
export function shownFields(form: FormDefinition, entered: Entered): string[] {
  return form.view.properties.steps.flatMap((step) =>
    step.elements.filter((control) => isShown(control, entered)).map((control) => `${step.name}.${control.name}`),
  );
}

function isShown(control: object, entered: Entered): boolean {
  const visible = 'visible' in control ? textOf(control.visible) : 'true';
  return visible === 'true' || evaluateText(visible, formSurroundings(entered)) === true;
}

/** What the form complains about. */
export function complaintsAbout(form: FormDefinition, entered: Entered): string[] {
  const surroundings = formSurroundings(entered);
  return form.view.properties.steps.flatMap((step) =>
    step.elements
      .filter((control) => isShown(control, entered))
      .flatMap((control) => {
        const constraints = 'constraints' in control ? (control.constraints as unknown as JsonObject) : {};
        const { required, regex, validationMessage, validations } = constraints;
        const value = entered[step.name]?.[control.name] ?? '';
        const isRequired =
          typeof required === 'string' ? evaluateText(required, surroundings) === true : required === true;
        const said: string[] = [];
        if (isRequired && value === '') said.push(`${control.name} is required`);
        if (typeof regex === 'string' && typeof value === 'string' && value !== '' && !new RegExp(regex).test(value)) {
          said.push(textOf(validationMessage));
        }
        for (const validation of Array.isArray(validations) ? validations : []) {
          if (isObject(validation) && evaluateText(textOf(validation['isValid']), surroundings) !== true) {
            said.push(textOf(validation['message']));
          }
        }
        return said;
      }),
  );
}

/** The parameters that the portal hands to the template. */
export function parametersFrom(form: FormDefinition, entered: Entered): Record<string, Json> {
  const visible: Entered = structuredClone(entered);
  for (const step of form.view.properties.steps) {
    for (const control of step.elements) {
      if (!isShown(control, entered)) delete visible[step.name]?.[control.name];
    }
  }
  const surroundings = formSurroundings(visible);
  return Object.fromEntries(
    Object.entries(form.view.outputs.parameters).map(([name, text]) => [name, evaluateText(text, surroundings)]),
  );
}

function formSurroundings(entered: Entered): Surroundings {
  return {
    steps: (name) => entered[textOf(name)] ?? {},
    parse: (text) => JSON.parse(textOf(text)) as Json,
  };
}
