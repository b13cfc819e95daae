use its_mistakes::*; use std::fs; use std::path::Path;
fn walk(p:&Path,s:&mut Sources){for e in fs::read_dir(p).unwrap(){let e=e.unwrap().path(); if e.is_dir(){walk(&e,s)} else if e.extension().is_some_and(|x|x=="rs"){s.insert(e.display().to_string(),fs::read_to_string(&e).unwrap());}}}
fn main(){let mut s=Sources::new(); for d in ["harness/emulator/src","harness/board/src","harness/model/src","harness/gic/src"]{walk(Path::new(d),&mut s)}
for b in ["corpus/bugs","corpus/breaks"]{for e in fs::read_dir(b).unwrap(){let e=e.unwrap().path(); let m=Mistake{name:e.file_name().unwrap().to_str().unwrap().into(),patch:fs::read_to_string(e.join("bug.patch")).unwrap()}; if let Err(x)=plant(&mut s.clone(),&[m]){println!("{x}")}}}}
