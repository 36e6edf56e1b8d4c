//! The machine that pickles are programs for, with descriptions in the place of values.

use super::{
    super::{MarshalError, window::Window},
    node::{Id, Items, Kind, Node, Show},
    opcodes::{Argument, argument},
};
use std::collections::{BTreeSet, HashMap};

/// Instructions followed: each makes one node at most, so this bounds memory too.
const STEPS: usize = 300_000;
/// How much of a string, of bytes or of a line is read.
const TEXT: u64 = 256;
/// The longest line, such as a number of many digits.
const LINE: u64 = 1 << 20;
const IMPORTS: usize = 10_000;

pub(super) struct Machine {
    pub(super) protocol: u8,
    /// What the pickle would import, as `module.name`; `?` where it would compute the name.
    pub(super) imports: BTreeSet<String>,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    offset: u64,
}

/// What an instruction came with: the beginning of it, and its length.
struct Content {
    bytes: Vec<u8>,
    length: u64,
}

impl Content {
    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.length > self.bytes.len() as u64 {
            text.push('…');
        }
        text
    }

    fn number(&self) -> u64 {
        let mut wide = [0; 8];
        let count = self.bytes.len().min(8);
        wide[..count].copy_from_slice(&self.bytes[..count]);
        u64::from_le_bytes(wide)
    }

    /// A whole number of any length in two's complement, as far as 128 bits go.
    fn long(&self) -> String {
        if self.length > 16 {
            return format!("a whole number of {} bytes", self.length);
        }
        let negative = self.bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 16];
        wide[..self.bytes.len()].copy_from_slice(&self.bytes);
        i128::from_le_bytes(wide).to_string()
    }
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            protocol: 0,
            imports: BTreeSet::new(),
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            offset: 0,
        }
    }

    /// Where the pickle ends.
    pub(super) fn end(&self) -> u64 {
        self.offset
    }

    /// Follows the instructions to the last one; false where there are more than are followed.
    pub(super) fn run(&mut self, window: &mut Window<'_>) -> Result<bool, MarshalError> {
        for _ in 0..STEPS {
            let at = self.offset;
            let opcode = window.u8_at(at)?;
            self.offset += 1;
            let kind = argument(opcode);
            let kind = kind.ok_or_else(|| window.bad(format!("byte {opcode:#04x} at {at} is no instruction")))?;
            let content = self.content(window, kind)?;
            if opcode == b'.' {
                return match self.stack.is_empty() {
                    true => Err(window.bad("it ends without a value")),
                    false => Ok(true),
                };
            }
            let name =
                if kind == Argument::Lines { self.content(window, Argument::Line)?.text() } else { String::new() };
            let done = self.step(opcode, &content, &name);
            done.ok_or_else(|| window.bad(format!("its instruction at {at} finds nothing to work on")))?;
        }
        if self.imports.is_empty() && self.stack.is_empty() {
            return Err(window.bad("it does not come to anything"));
        }
        Ok(false)
    }

    /// What the value is, an outline of it, and whether that is all.
    pub(super) fn outline(&self, rows: usize) -> (String, Vec<String>, bool) {
        let show = Show(&self.nodes);
        // Where the end was not reached, the value is still at the bottom of the stack.
        match self.stack.first() {
            Some(top) => {
                let (lines, complete) = show.outline(*top, rows);
                (show.describe(*top), lines, complete)
            }
            None => ("nothing yet".to_owned(), Vec::new(), false),
        }
    }

    fn content(&mut self, window: &mut Window<'_>, kind: Argument) -> Result<Content, MarshalError> {
        let length = match kind {
            Argument::None => 0,
            Argument::Fixed(length) => length,
            Argument::Counted(width) => {
                let width_bytes = window.read_at(self.offset, width)?;
                self.offset += width;
                Content { bytes: width_bytes, length: width }.number()
            }
            Argument::Line | Argument::Lines => return self.line(window),
        };
        let end = self.offset.checked_add(length).filter(|end| *end <= window.bytes());
        let end = end.ok_or_else(|| window.bad(format!("{length} bytes at {} are missing", self.offset)))?;
        let bytes = window.read_at(self.offset, length.min(TEXT))?;
        self.offset = end;
        Ok(Content { bytes, length })
    }

    fn line(&mut self, window: &mut Window<'_>) -> Result<Content, MarshalError> {
        let start = self.offset;
        let mut bytes = Vec::new();
        while self.offset - start < LINE {
            let part = window.read_at(self.offset, TEXT.min(window.bytes().saturating_sub(self.offset)))?;
            let end = part.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(part.len());
            let room = (TEXT as usize).saturating_sub(bytes.len());
            bytes.extend(&part[..taken.min(room)]);
            self.offset += taken as u64;
            if end.is_some() {
                let length = self.offset - start;
                self.offset += 1;
                return Ok(Content { bytes, length });
            }
            if part.is_empty() {
                break;
            }
        }
        Err(window.bad(format!("a line at {start} does not end")))
    }

    /// Follows one instruction; `None` where the stack or the memory does not have what it takes.
    fn step(&mut self, opcode: u8, content: &Content, name: &str) -> Option<()> {
        match opcode {
            0x80 => self.protocol = content.bytes[0],
            // Frames only say how the file may be read.
            0x95 | 0x98 => {}
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop_or_mark()?),
            b'1' => drop(self.above_mark()?),
            b'2' => self.stack.push(self.top()?),
            b'N' => self.atom("None"),
            0x88 => self.atom("True"),
            0x89 => self.atom("False"),
            b'I' if content.bytes == b"01" => self.atom("True"),
            b'I' if content.bytes == b"00" => self.atom("False"),
            b'F' | b'I' => self.atom(&content.text()),
            b'L' => self.atom(content.text().trim_end_matches('L')),
            b'J' => self.atom(&(content.number() as u32 as i32).to_string()),
            b'K' | b'M' => self.atom(&content.number().to_string()),
            0x8a | 0x8b => self.atom(&content.long()),
            b'G' => self.atom(&f64::from_bits(content.number().swap_bytes()).to_string()),
            b'S' => self.push(Node::Text(content.text().trim_matches(['\'', '"']).to_owned())),
            b'T' | b'U' | b'V' | b'X' | 0x8c | 0x8d => self.push(Node::Text(content.text())),
            b'B' | b'C' | 0x8e => self.atom(&format!("bytes of {}", content.length)),
            0x96 => self.atom(&format!("bytearray of {}", content.length)),
            0x97 => self.atom("buffer outside of the pickle"),
            b'P' => self.atom(&format!("reference {}", content.text())),
            b'Q' => {
                let id = self.pop()?;
                let text = Show(&self.nodes).line(id, 60);
                self.atom(&format!("reference {text}"));
            }
            0x82..=0x84 => {
                let name = format!("extension {}", content.number());
                self.import(name);
            }
            b'c' => self.import(format!("{}.{name}", content.text())),
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let part = |id: Id| match &self.nodes[id] {
                    Node::Text(text) => text.clone(),
                    _ => "?".to_owned(),
                };
                self.import(format!("{}.{}", part(module), part(name)));
            }
            b'i' => {
                let arguments = self.above_mark()?;
                self.import(format!("{}.{name}", content.text()));
                let callee = self.pop()?;
                self.call(callee, &arguments);
            }
            b'o' => {
                let parts = self.above_mark()?;
                let (callee, arguments) = parts.split_first()?;
                self.call(*callee, arguments);
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                self.push(Node::Call { callee, arguments, state: None });
            }
            0x92 => {
                let (named, arguments, callee) = (self.pop()?, self.pop()?, self.pop()?);
                let mut items = Items::default();
                items.add(&[arguments, named]);
                let arguments = self.node(Node::Items(Kind::Tuple, items));
                self.push(Node::Call { callee, arguments, state: None });
            }
            b'b' => {
                let new = self.pop()?;
                let target = self.top()?;
                // Any other value has no state to show.
                if let Node::Call { state, .. } = &mut self.nodes[target] {
                    *state = Some(new);
                }
            }
            b')' => self.collect(Kind::Tuple, &[]),
            b']' => self.collect(Kind::List, &[]),
            b'}' => self.collect(Kind::Dict, &[]),
            0x8f => self.collect(Kind::Set, &[]),
            0x85..=0x87 => {
                let floor = self.marks.last().copied().unwrap_or(0);
                let start = self.stack.len().checked_sub(usize::from(opcode - 0x84)).filter(|start| *start >= floor)?;
                let items = self.stack.split_off(start);
                self.collect(Kind::Tuple, &items);
            }
            b't' | b'l' | b'd' | 0x91 => {
                let items = self.above_mark()?;
                let kind = match opcode {
                    b't' => Kind::Tuple,
                    b'l' => Kind::List,
                    b'd' => Kind::Dict,
                    _ => Kind::FrozenSet,
                };
                self.collect(kind, &items);
            }
            b'a' => {
                let item = self.pop()?;
                self.add(&[item])?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.add(&[key, value])?;
            }
            b'e' | b'u' | 0x90 => {
                let items = self.above_mark()?;
                self.add(&items)?;
            }
            b'g' => self.stack.push(*self.memo.get(&content.text().trim().parse().ok()?)?),
            b'h' | b'j' => self.stack.push(*self.memo.get(&content.number())?),
            b'p' => drop(self.memo.insert(content.text().trim().parse().ok()?, self.top()?)),
            b'q' | b'r' => drop(self.memo.insert(content.number(), self.top()?)),
            0x94 => drop(self.memo.insert(self.memo.len() as u64, self.top()?)),
            _ => return None,
        }
        Some(())
    }

    fn node(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn push(&mut self, node: Node) {
        let id = self.node(node);
        self.stack.push(id);
    }

    fn atom(&mut self, text: &str) {
        self.push(Node::Atom(super::super::cell::cell(text)));
    }

    fn import(&mut self, name: String) {
        if self.imports.len() < IMPORTS {
            self.imports.insert(name.clone());
        }
        self.push(Node::Global(name));
    }

    fn call(&mut self, callee: Id, arguments: &[Id]) {
        let mut items = Items::default();
        items.add(arguments);
        let arguments = self.node(Node::Items(Kind::Tuple, items));
        self.push(Node::Call { callee, arguments, state: None });
    }

    fn collect(&mut self, kind: Kind, content: &[Id]) {
        let mut items = Items::default();
        items.add(content);
        self.push(Node::Items(kind, items));
    }

    /// Adds items to the value on the top; an object made by a call takes them in its own way.
    fn add(&mut self, content: &[Id]) -> Option<()> {
        let target = self.top()?;
        if let Node::Items(_, items) = &mut self.nodes[target] {
            items.add(content);
        }
        Some(())
    }

    fn top(&self) -> Option<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| self.stack.len() > floor)
    }

    fn pop(&mut self) -> Option<Id> {
        let top = self.top()?;
        self.stack.pop();
        Some(top)
    }

    /// Takes the top, which may be a mark.
    fn pop_or_mark(&mut self) -> Option<()> {
        match self.pop() {
            Some(_) => Some(()),
            None => self.marks.pop().map(drop),
        }
    }

    fn above_mark(&mut self) -> Option<Vec<Id>> {
        let mark = self.marks.pop()?;
        Some(self.stack.split_off(mark))
    }
}
