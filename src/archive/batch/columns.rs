//! Rows by column: each column travels as one array, so that any number of rows is one statement of always the same text.

use tokio_postgres::types::ToSql;

/// Rows of one table, by column.
pub(super) trait Columns {
    /// Whether there are no rows.
    fn is_empty(&self) -> bool;
    /// Whether the statement takes the epoch as its last parameter.
    fn has_epoch(&self) -> bool;
    /// Inserts them, or replaces the rows of the same keys.
    fn statement(&self) -> &'static str;
    /// The arrays, in the statement's order.
    fn parameters(&self) -> Vec<&(dyn ToSql + Sync)>;
}

/// A column: its name, the SQL type of an element, and how the table's value is made of it.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) element: &'static str,
    /// `{}` stands for the element; `None` when it is the value itself.
    pub(super) made_by: Option<&'static str>,
}

/// `INSERT … SELECT … FROM unnest(…) ON CONFLICT (key) DO UPDATE`, for these columns and, where wanted, the epoch.
pub(super) fn upsert(table: &str, key: &[&str], columns: &[Column], has_epoch: bool) -> String {
    let epoch = has_epoch.then_some("epoch");
    let names: Vec<&str> = columns.iter().map(|column| column.name).chain(epoch).collect();
    let arrays: Vec<String> =
        columns.iter().enumerate().map(|(i, column)| format!("${}::{}[]", i + 1, column.element)).collect();
    let elements: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let mut values: Vec<String> = columns
        .iter()
        .map(|column| {
            let element = format!("r.{}", column.name);
            column.made_by.map_or_else(|| element.clone(), |made_by| made_by.replace("{}", &element))
        })
        .collect();
    if has_epoch {
        values.push(format!("${}::bigint", columns.len() + 1));
    }
    let replaced: Vec<String> = names
        .iter()
        .filter(|name| !key.contains(name))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    format!(
        "INSERT INTO {table} ({}) SELECT {} FROM unnest({}) AS r ({}) ON CONFLICT ({}) DO UPDATE SET {}",
        names.join(", "),
        values.join(", "),
        arrays.join(", "),
        elements.join(", "),
        key.join(", "),
        replaced.join(", "),
    )
}

/// Declares the columns of a table: a struct of arrays, and the statement that writes them.
macro_rules! columns {
    (
        $(#[$doc:meta])*
        $name:ident into $table:literal by $key:expr, epoch $has_epoch:literal {
            $( $field:ident: $element:literal $type:ty $(as $made_by:expr)?, )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $name {
            $( $field: Vec<$type>, )*
        }

        impl $crate::archive::batch::columns::Columns for $name {
            fn is_empty(&self) -> bool {
                let lengths = [$( self.$field.len(), )*];
                lengths.iter().all(|length| *length == 0)
            }

            fn has_epoch(&self) -> bool {
                $has_epoch
            }

            fn statement(&self) -> &'static str {
                static STATEMENT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
                    let columns = [$(
                        $crate::archive::batch::columns::Column {
                            name: stringify!($field),
                            element: $element,
                            made_by: columns!(@made_by $($made_by)?),
                        },
                    )*];
                    $crate::archive::batch::columns::upsert($table, &$key, &columns, $has_epoch)
                });
                STATEMENT.as_str()
            }

            fn parameters(&self) -> Vec<&(dyn tokio_postgres::types::ToSql + Sync)> {
                vec![$( &self.$field, )*]
            }
        }
    };
    (@made_by) => { None };
    (@made_by $made_by:expr) => { Some($made_by) };
}
pub(super) use columns;
